package keys

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

var errBroken = errors.New("the code that used an opened message broke off; its words are held back, because they may hold card data")

// Go gives a stack that has become too small back as it is, with all that stands on
// it, and does the same with one that has become too large. So the stack is made as
// large as it will be needed before anything secret is on it, and enough of it stays
// in use (a quarter) that the collector leaves it alone.
const (
	stackRoom = 40 << 10 // what the work may use; TestR16_StackIsEnough measures what it does use
	stackPad  = 20 << 10 // what stays in use
)

// quietly runs f on a goroutine of its own and overwrites its stack when f has
// returned or panicked. A panic becomes an error.
//
// runtime/secret does the same and more, since it overwrites freed heap as well; but
// it needs GOEXPERIMENT=runtimesecret, and an ordinary go build must be safe.
func quietly(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errBroken // what remains if f ends the goroutine
		defer func() { done <- err }()
		err = padded(f)
	}()
	return <-done
}

//go:noinline
func padded(f func() error) error {
	var pad [stackPad]byte
	touch(pad[:])
	overwrite() // makes the stack large enough
	err := caught(f)
	overwrite()
	touch(pad[:])
	return err
}

// overwrite clears what functions that have returned left below on the stack.
//
//go:noinline
func overwrite() {
	var room [stackRoom]byte
	touch(room[:])
}

// overwriteRegisters is to be called with 256: to move as many bytes of a number not
// known before, runtime.memmove loads on amd64 each of the sixteen vector registers.
//
//go:noinline
func overwriteRegisters(n int) {
	var from, to [256]byte
	touch(from[:n])
	copy(to[:n], from[:n])
	touch(to[:n])
}

// touch makes the compiler believe that b is needed.
//
//go:noinline
func touch(b []byte) { b[0] = 0 }

func caught(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w (%s)", errBroken, panicked())
		}
	}()
	return f()
}

// panicked gives the place of a panic, from within the recovering function.
func panicked() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") || !more {
			return fmt.Sprintf("%s, line %d", f.Function, f.Line)
		}
	}
}
