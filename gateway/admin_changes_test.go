package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"kessai/merchants"
)

// The lines of the tests: two that are good, and a medium that is not there.
const (
	lineStolen    = `{"medium":{"pan":"4242424242424242","status":"stolen"}}`
	lineSuspended = `{"terminal":{"id":"AOI00001","status":"suspended"}}`
	lineAbsent    = `{"medium":{"pan":"5105105105105100","status":"lost"}}`
)

// feedControl is a control of a registry that knows one medium and one terminal.
type feedControl struct {
	*Control
	mu      sync.Mutex
	applied [][]merchants.Change // in groups
	fail    error
}

func newFeedControl() *feedControl {
	f := new(feedControl)
	f.Control = NewControl(ControlOptions{Apply: f.apply, Refresh: func(context.Context) error { return f.fail }})
	return f
}

func (f *feedControl) apply(_ context.Context, changes []merchants.Change) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return 0, f.fail
	}
	absent, err := merchants.ReadChange([]byte(lineAbsent))
	if err != nil {
		return 0, err
	}
	for i, c := range changes {
		if reflect.DeepEqual(c, absent) {
			return 0, &merchants.ChangeError{Change: i, Problem: "there is no such medium"}
		}
	}
	f.applied = append(f.applied, changes)
	return uint64(len(f.applied)), nil
}

func (f *feedControl) count() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, group := range f.applied {
		n += len(group)
	}
	return n
}

func lines(all ...string) string { return strings.Join(all, "\n") + "\n" }

// TestV1_ChangesAreAppliedWholeOrNotAtAll: the first bad line is named, wherever
// its fault is found, and nothing of the file is applied.
func TestV1_ChangesAreAppliedWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		line int
		why  string
	}{
		"good":               {file: lines(lineStolen, lineSuspended)},
		"no end of line":     {file: lineStolen},
		"CRLF, empty lines":  {file: "\r\n" + lineStolen + "\r\n\r\n" + lineSuspended},
		"no JSON":            {file: lines(lineStolen, "stolen", "worse"), line: 2},
		"empty lines count":  {file: lines("", "", lineStolen, "stolen"), line: 4},
		"no such medium":     {file: lines(lineStolen, lineSuspended, lineAbsent), line: 3, why: "there is no such medium"},
		"read before judged": {file: lines(lineStolen, lineAbsent, "{"), line: 3},
		"cut off":            {file: lines(lineStolen) + lineStolen[:20], line: 2, why: "the line does not end"},
		"long":               {file: lines(lineStolen, strings.Repeat(" ", merchants.MaxChangeLine+2)+"{}", lineStolen), line: 2, why: "longer than 4096 bytes"},
		"two on one line":    {file: lines(lineStolen + lineStolen), line: 1},
		"binary":             {file: "\x00\xff\n", line: 1},
		"nothing but spaces": {file: " \n \n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeedControl()
			done, err := f.Changes(t.Context(), strings.NewReader(c.file), false, nil)
			fault, isFault := errors.AsType[*LineFault](err)
			switch {
			case c.line == 0 && name == "nothing but spaces":
				if !errors.Is(err, errNoChange) {
					t.Errorf("%+v, %v", done, err)
				}
			case c.line == 0:
				if err != nil || done.Applied != f.count() || done.Applied == 0 || done.Version != 1 {
					t.Errorf("%+v, %v", done, err)
				}
			case !isFault || fault.Line != c.line || !strings.Contains(fault.Why, c.why) || f.count() != 0:
				t.Errorf("got %v with %d applied; want line %d: %s", err, f.count(), c.line, c.why)
			case strings.Contains(err.Error(), "4242") || strings.Contains(err.Error(), "5105"):
				t.Errorf("the error repeats a card number: %v", err)
			}
		})
	}
}

func TestChanges_SkipBad(t *testing.T) {
	f := newFeedControl()
	file := lines(lineAbsent, "{", lineStolen, lineAbsent, strings.Repeat("x", 2*merchants.MaxChangeLine), lineSuspended)
	var told []string
	done, err := f.Changes(t.Context(), strings.NewReader(file), true, func(what string, done, total uint64) {
		told = append(told, fmt.Sprint(what, " ", done, "/", total))
	})
	if err != nil || done.Applied != 2 || f.count() != 2 || len(done.Skipped) != 4 {
		t.Fatalf("%+v, %v", done, err)
	}
	for i, want := range []int{1, 2, 4, 5} {
		if done.Skipped[i].Line != want || done.Skipped[i].Why == "" {
			t.Errorf("skipped %+v, want line %d", done.Skipped[i], want)
		}
	}
	expectEqual(t, "progress", strings.Join(told, ", "), "applying 0/4, applying 4/4")
	expectCount(t, f.o.Metrics, "kessai_changes_total", 2, "result=applied")
	expectCount(t, f.o.Metrics, "kessai_changes_total", 4, "result=refused")
	if done, err := f.Changes(t.Context(), strings.NewReader("{\n"), true, nil); err != nil || done.Applied != 0 || len(done.Skipped) != 1 {
		t.Errorf("a file of bad lines: %+v, %v", done, err)
	}
}

func TestChanges_Limits(t *testing.T) {
	f := newFeedControl()
	if _, err := f.Changes(t.Context(), strings.NewReader(strings.Repeat("x\n", maxSkipped+1)), true, nil); err == nil || !strings.Contains(err.Error(), "more than 10000 lines are bad") {
		t.Errorf("bad lines without end: %v", err)
	}
	if _, err := f.Changes(t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF), true, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	half := io.MultiReader(strings.NewReader(lines(lineStolen)+lineSuspended), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := f.Changes(t.Context(), half, true, nil); !errors.Is(err, io.ErrUnexpectedEOF) || f.count() != 0 {
		t.Errorf("a file that breaks off: %v, %d applied", err, f.count())
	}
	f.fail = errors.New("the disk is full")
	if _, err := f.Changes(t.Context(), strings.NewReader(lines(lineStolen)), true, nil); !errors.Is(err, f.fail) {
		t.Errorf("a registry that cannot write: %v", err)
	}
}

// feedAnswers runs a stream and gives its answers as they would be sent.
func feedAnswers(t *testing.T, f *feedControl, r io.Reader) (answers []FeedAnswer, end FeedEnd) {
	t.Helper()
	end = f.Feed(t.Context(), r, func(a FeedAnswer) error { answers = append(answers, a); return nil })
	return answers, end
}

// TestFeed_EveryLineIsAnswered: in its order, good or bad, and one does not hold
// up the others.
func TestFeed_EveryLineIsAnswered(t *testing.T) {
	f := newFeedControl()
	answers, end := feedAnswers(t, f, strings.NewReader(lines(lineStolen, "{", "", lineAbsent, lineSuspended)+lineStolen[:30]))
	if end != (FeedEnd{Lines: 6, Applied: 2, Refused: 3}) || f.count() != 2 {
		t.Errorf("%+v, %d applied", end, f.count())
	}
	for i, want := range []struct {
		line int
		good bool
	}{{1, true}, {2, false}, {4, false}, {5, true}, {6, false}} {
		if a := answers[i]; a.Line != want.line || (a.Error == "") != want.good || (a.Version > 0) != want.good {
			t.Errorf("answer %+v, want line %d, good: %v", a, want.line, want.good)
		}
	}
}

// TestV1_AFedLineIsInForceBeforeTheNext: whoever has the answer to a line can rely
// on it while the stream goes on.
func TestV1_AFedLineIsInForceBeforeTheNext(t *testing.T) {
	f := newFeedControl()
	in, out := io.Pipe()
	answers := make(chan FeedAnswer)
	ended := make(chan FeedEnd)
	go func() {
		ended <- f.Feed(t.Context(), in, func(a FeedAnswer) error { answers <- a; return nil })
	}()
	for n := 1; n <= 3; n++ {
		fmt.Fprintln(out, lineStolen)
		if a := <-answers; a.Line != n || a.Error != "" || f.count() != n {
			t.Errorf("line %d: %+v, %d applied", n, a, f.count())
		}
	}
	out.CloseWithError(errors.New("pulled"))
	if end := <-ended; !strings.Contains(end.Error, "pulled") || end.Applied != 3 {
		t.Errorf("%+v", end)
	}
}

func TestFeed_Ends(t *testing.T) {
	f := newFeedControl()
	f.fail = errors.New("the disk is full")
	answers, end := feedAnswers(t, f, strings.NewReader(lines(lineStolen)))
	if end.Applied != 0 || !strings.Contains(end.Error, "the disk is full") || !strings.Contains(answers[0].Error, "the disk is full") {
		t.Errorf("a registry that cannot write: %+v, %+v", answers, end)
	}
	silent, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if end := f.Feed(ctx, silent, func(FeedAnswer) error { return nil }); end.Error == "" {
		t.Errorf("an interrupted stream: %+v", end)
	}
	f.fail = nil
	if end := f.Feed(t.Context(), strings.NewReader(lines(lineStolen)), func(FeedAnswer) error { return io.ErrClosedPipe }); !strings.Contains(end.Error, "nobody takes the answers") {
		t.Errorf("nobody who hears: %+v", end)
	}
}

// FuzzFeed: whatever comes, every line that is not empty has one answer, in its
// order; a file is applied with as many changes as the stream, or not at all; and
// no answer repeats a number of its line.
func FuzzFeed(f *testing.F) {
	f.Add([]byte(lines(lineStolen, lineSuspended)), 1)
	f.Add([]byte("\n\r\n"+lineStolen[:20]), 7)
	f.Add([]byte(strings.Repeat("9", merchants.MaxChangeLine+3)+"\n"+lineAbsent), 4096)
	f.Fuzz(func(t *testing.T, feed []byte, piece int) {
		stream, whole := newFeedControl(), newFeedControl()
		var r io.Reader = strings.NewReader(string(feed))
		if piece%2 == 0 {
			r = iotest.OneByteReader(r)
		}
		answers, end := feedAnswers(t, stream, r)
		last := 0
		for _, a := range answers {
			if a.Line <= last || (a.Error == "") == (a.Version == 0) {
				t.Fatalf("%+v after line %d", a, last)
			}
			last = a.Line
		}
		if end.Error != "" || end.Lines != last || end.Applied+end.Refused != len(answers) || end.Applied != stream.count() {
			t.Fatalf("%+v, %d answers, %d applied", end, len(answers), stream.count())
		}
		done, err := whole.Changes(t.Context(), strings.NewReader(string(feed)), false, nil)
		if whole.count() != 0 && (end.Refused > 0 || whole.count() != end.Applied) {
			t.Fatalf("%+v, %v; the stream: %+v", done, err, end)
		}
		if err == nil && done.Applied != end.Applied {
			t.Fatalf("%+v; the stream: %+v", done, end)
		}
	})
}
