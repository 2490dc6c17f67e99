package cache_test

import (
	"kessai"
	"kessai/cache"
)

// mediumIn and terminalIn give the facts, and none where memory cannot tell.
func mediumIn(s *cache.Snapshot, id kessai.MediumID) cache.Medium {
	m, _ := s.Medium(id)
	return m
}

func terminalIn(s *cache.Snapshot, id kessai.TerminalID) cache.Terminal {
	t, _ := s.Terminal(id)
	return t
}
