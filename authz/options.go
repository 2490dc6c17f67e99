package authz

import (
	"time"

	"kessai"
)

// Options configures an engine.
type Options struct {
	Acquirer kessai.AcquirerID                         // takes the place of a missing DE32
	HoldFor  time.Duration                             // how long a pre-authorization stands
	MaxAge   time.Duration                             // a cache older than this approves nothing; zero: any age will do
	Observe  func(stage Stage, d time.Duration, n int) // told how long a stage took for n requests; may be nil
	Registry Registry                                  // asked for what memory does not know
	Dialogue DialogueOptions
	Purse    PurseOptions
	Phone    PhoneOptions
	Reader   *ReaderOptions // nil: nobody pays with a card reader on their phone
}

func (o *Options) defaults() {
	if o.Observe == nil {
		o.Observe = func(Stage, time.Duration, int) {}
	}
	o.Phone.defaults()
}
