package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// found is a block as it lies in the store.
type found struct {
	number uint64 // by its key
	raw    []byte
	block  block
	hash   [32]byte
	err    error
	parsed chan struct{} // holds one token when block, hash and err are known
}

// readAhead is the number of blocks that are on their way from the store.
const readAhead = 8

// readBlocks reads all blocks of a store in order, checks their hashes and their
// chain, and calls f for each. It ends at the first thing that is wrong. One
// goroutine reads and others hash, while f does its work with what came before.
func readBlocks(db *badger.DB, f func(b *block, hash [32]byte, size int) error) (last uint64, hash [32]byte, err error) {
	inOrder, toHash, free := make(chan *found, readAhead), make(chan *found, readAhead), make(chan *found, readAhead)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range readAhead {
		free <- &found{parsed: make(chan struct{}, 1)}
	}
	running.Go(func() {
		defer close(inOrder)
		defer close(toHash)
		readAll(db, free, stop, func(b *found) {
			toHash <- b
			inOrder <- b // neither is ever full
		})
	})
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for b := range toHash {
				if b.err == nil {
					b.block, b.hash, b.err = parseBlock(b.raw)
				}
				b.parsed <- struct{}{}
			}
		})
	}
	defer running.Wait()
	defer close(stop)
	for b := range inOrder {
		<-b.parsed
		want := last + 1
		switch {
		case b.number != want:
			return last, hash, &Damage{Block: want, What: "it is missing, though later blocks are there"}
		case b.err != nil:
			err = b.err
		case b.block.number != want:
			err = fmt.Errorf("another block (%d) is in its place", b.block.number)
		case b.block.prev != hash:
			err = errors.New("it does not follow from the block before it")
		default:
			hash = b.hash
			err = f(&b.block, hash, len(b.raw))
		}
		if err != nil {
			var d *Damage
			if !errors.As(err, &d) && !errors.Is(err, errSnapshot) {
				err = &Damage{Block: want, What: err.Error()}
			}
			return last, hash, err
		}
		last = want
		free <- b
	}
	return last, hash, nil
}

// readAll reads the blocks of a store, in the order of their keys, and gives a
// copy of each to next. What goes wrong is given like a block.
func readAll(db *badger.DB, free chan *found, stop chan struct{}, next func(*found)) {
	last := uint64(0)
	give := func(number uint64, read func(raw []byte) ([]byte, error)) (more bool) {
		select {
		case <-stop:
			return false
		case b := <-free:
			b.number = number
			b.raw, b.err = read(b.raw[:0])
			more = b.err == nil
			next(b)
			return more
		}
	}
	fail := func(err error) {
		give(last+1, func(raw []byte) ([]byte, error) { return raw, err })
	}
	defer func() {
		// Badger panics over some damage; that is damage too.
		if p := recover(); p != nil {
			fail(fmt.Errorf("the store cannot be read: %v", p))
		}
	}()
	err := db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false // reads in this goroutine, where a panic over damaged data can be caught
		o.Prefix = []byte{'b'}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().Key()
			if len(key) != 9 {
				return errors.New("the store holds something else in its place")
			}
			number := binary.BigEndian.Uint64(key[1:])
			if !give(number, it.Item().ValueCopy) {
				return nil
			}
			last = number
		}
		return nil
	})
	if err != nil {
		fail(err)
	}
}
