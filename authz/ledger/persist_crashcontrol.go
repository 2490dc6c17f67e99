//go:build crashcontrol

package ledger

import (
	"sync"
	"time"
)

// This file makes a broken gateway on purpose: it answers before the block is on
// disk, and keeps the blocks of the last moments in memory only, as a machine
// keeps unsynced data in its page cache. Killing it must lose what it
// acknowledged. It is the control of the crash test: a crash test that this
// gateway passes proves nothing.

var unsynced struct {
	sync.Mutex
	started bool
	blocks  [][]byte
	first   uint64
}

func (b *Book) persist(number uint64, raw []byte) error {
	unsynced.Lock()
	defer unsynced.Unlock()
	if len(unsynced.blocks) == 0 {
		unsynced.first = number
	}
	unsynced.blocks = append(unsynced.blocks, append([]byte(nil), raw...))
	if !unsynced.started {
		unsynced.started = true
		go b.persistLater()
	}
	return nil
}

func (b *Book) persistLater() {
	for {
		time.Sleep(200 * time.Millisecond)
		unsynced.Lock()
		for i, raw := range unsynced.blocks {
			if err := b.sync(unsynced.first+uint64(i), raw); err != nil {
				b.fail(err)
			}
		}
		unsynced.blocks = nil
		unsynced.Unlock()
	}
}
