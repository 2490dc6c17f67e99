package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"kessai/merchants"
)

// The limits of a feed.
const (
	maxSkipped    = 10_000 // bad lines of one file that are listed; with more, it is no feed
	progressEvery = 20_000 // lines
	feedGroup     = 1024   // lines of a stream that are applied together at most
)

func itoa(n int) string { return strconv.Itoa(n) }

// numbered is a line of a feed: a change, or why it is none.
type numbered struct {
	line   int
	change merchants.Change
	fault  string
}

// feedLines reads a feed line by line. Empty lines are counted and left out.
type feedLines struct {
	r    *bufio.Reader
	line int
}

func newFeedLines(r io.Reader) *feedLines {
	return &feedLines{r: bufio.NewReaderSize(r, merchants.MaxChangeLine+len("\r\n"))}
}

// next gives the next line; io.EOF behind the last. What comes before a reader's
// error is no line: nobody knows how it would have gone on.
func (f *feedLines) next() (numbered, error) {
	for {
		text, err := f.r.ReadSlice('\n')
		tooLong := false
		for ; errors.Is(err, bufio.ErrBufferFull); tooLong = true {
			_, err = f.r.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return numbered{}, err
		}
		if err == io.EOF && len(text) == 0 {
			return numbered{}, io.EOF
		}
		f.line++
		text = bytes.TrimSpace(text)
		switch {
		case tooLong:
			return numbered{line: f.line, fault: "is longer than " + itoa(merchants.MaxChangeLine) + " bytes"}, nil
		case len(text) == 0:
			continue
		}
		change, fault := merchants.ReadChange(text)
		if fault == nil {
			return numbered{line: f.line, change: change}, nil
		}
		why := strings.TrimPrefix(fault.Error(), "change: ")
		if err == io.EOF {
			why += " (the line does not end: it may be cut off)"
		}
		return numbered{line: f.line, fault: why}, nil
	}
}

// applied is what became of changes.
type applied struct {
	version uint64
	bad     []LineFault // those that do not fit what is there, and were left out
	left    []numbered  // those behind an error, of which nothing is known
}

// apply puts changes in force. Of those that do not fit what is there, the first
// is the error, and nothing is in force; where they may be left out, they are
// given back, and the others are applied in groups.
func (c *Control) apply(ctx context.Context, read []numbered, leaveOut bool) (done applied, err error) {
	done.version = c.o.Cache.Load().Version()
	changes := make([]merchants.Change, len(read))
	for i := range read {
		changes[i] = read[i].change
	}
	for done.left = read; len(changes) > 0; {
		version, err := c.o.Apply(ctx, changes)
		fault, ok := errors.AsType[*merchants.ChangeError](err)
		if err != nil && !ok {
			return done, err
		}
		if !ok {
			done.version = version
			break
		}
		at := fault.Change
		bad := LineFault{done.left[at].line, fault.Problem}
		if !leaveOut {
			return done, &bad
		}
		// Those before it fit. To leave it out and try the whole again would be
		// to read a million records once for each that is bad.
		if at > 0 {
			if done.version, err = c.o.Apply(ctx, changes[:at]); err != nil {
				return done, err
			}
		}
		if done.bad, err = skip(done.bad, bad); err != nil {
			return done, err
		}
		changes, done.left = changes[at+1:], done.left[at+1:]
	}
	done.left = nil
	return done, nil
}

var (
	errNoChange = errors.New("there is no change in it")
	errTooBad   = fmt.Errorf("more than %d lines are bad, so not all of it is in force: is it a file of changes?", maxSkipped)
)

func skip(skipped []LineFault, bad LineFault) ([]LineFault, error) {
	if len(skipped) == maxSkipped {
		return nil, errTooBad
	}
	return append(skipped, bad), nil
}

// sortFaults puts what was skipped into the order of the lines.
func sortFaults(all []LineFault) {
	slices.SortFunc(all, func(a, b LineFault) int { return a.Line - b.Line })
}

// FeedAnswer says what became of one line of a stream: it is in force as of a
// version of the registry, or why it is not. The last answer has End instead.
type FeedAnswer struct {
	Line    int      `json:"line,omitempty"` // from 1
	Version uint64   `json:"version,omitempty"`
	Error   string   `json:"error,omitempty"`
	End     *FeedEnd `json:"end,omitempty"`
}

// FeedEnd sums a stream up.
type FeedEnd struct {
	Lines   int    `json:"lines"` // the number of the last line that was read
	Applied int    `json:"applied"`
	Refused int    `json:"refused"`
	Error   string `json:"error,omitempty"` // why it ended before its time; what came after was not applied
}

// Feed applies a stream of changes until it ends: each line as it comes,
// together with those that came meanwhile, in their order. A line that cannot be
// applied does not hold the others up. Each gets an answer when it is in force;
// an error of answer ends the stream.
//
// It returns when ctx ends, too; then it is for the caller to end a read from r
// that is still waiting.
func (c *Control) Feed(ctx context.Context, r io.Reader, answer func(FeedAnswer) error) (end FeedEnd) {
	c.o.Logger.Info("a feed begins")
	defer func() {
		c.o.Logger.Info("a feed ends", "lines", end.Lines, "applied", end.Applied, "refused", end.Refused, "error", end.Error)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, readErr := make(chan numbered, feedGroup), make(chan error, 1)
	go func() {
		defer close(lines)
		for in := newFeedLines(r); ; {
			l, err := in.next()
			if err != nil {
				readErr <- err
				return
			}
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
		}
	}()
	var err error
	for err == nil {
		var group []numbered
		if group, err = gather(ctx, lines); err == nil && group == nil {
			if err = <-readErr; err == io.EOF {
				return end
			}
			if stopped := endedBy(ctx); stopped != nil {
				err = stopped // which is what ended the read
			} else {
				err = fmt.Errorf("the stream broke off: %w", err)
			}
		}
		if err == nil {
			err = c.feedGroup(ctx, group, &end, answer)
		}
	}
	end.Error = err.Error()
	return end
}

// What ends a stream before its time.
var (
	errEnding      = errors.New("the gateway is shutting down")
	errInterrupted = errors.New("it was interrupted")
)

// endedBy says what ended a context; nil while it has not ended.
func endedBy(ctx context.Context) error {
	if err := context.Cause(ctx); err != context.Canceled {
		return err
	}
	return errInterrupted
}

// gather gives the lines that are waiting, at least one; none where there will be
// no more.
func gather(ctx context.Context, lines <-chan numbered) (group []numbered, err error) {
	select {
	case l, ok := <-lines:
		if !ok {
			return nil, nil
		}
		group = append(group, l)
	case <-ctx.Done():
		return nil, endedBy(ctx)
	}
	for len(group) < feedGroup {
		select {
		case l, ok := <-lines:
			if !ok {
				return group, nil // told again the next time
			}
			group = append(group, l)
		default:
			return group, nil
		}
	}
	return group, nil
}

// feedGroup applies some lines of a stream and answers them in their order.
func (c *Control) feedGroup(ctx context.Context, group []numbered, end *FeedEnd, answer func(FeedAnswer) error) error {
	var good []numbered
	why := make(map[int]string)
	for _, l := range group {
		if l.fault != "" {
			why[l.line] = l.fault
			continue
		}
		good = append(good, l)
	}
	done, err := c.apply(context.WithoutCancel(ctx), good, true)
	for _, f := range done.bad {
		why[f.Line] = f.Why
	}
	for _, l := range done.left {
		why[l.line] = "may be in force or not: " + err.Error()
	}
	c.o.Metrics.changed(len(group)-len(why), len(why))
	c.o.Logger.Debug("feed", "line", group[0].line, "applied", len(group)-len(why), "refused", len(why), "version", done.version)
	for _, l := range group {
		end.Lines = l.line
		a := FeedAnswer{Line: l.line, Version: done.version}
		if a.Error = why[l.line]; a.Error != "" {
			a.Version = 0
			end.Refused++
		} else {
			end.Applied++
		}
		if aerr := answer(a); aerr != nil {
			return fmt.Errorf("nobody takes the answers: %w", aerr)
		}
	}
	return err
}
