package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// feedSocket serves an admin socket whose control applies to f.
func feedSocket(t *testing.T, change func(*AdminOptions)) (string, *feedControl) {
	t.Helper()
	f := newFeedControl()
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Control = f.Control
		if change != nil {
			change(o)
		}
	})
	return socket, f
}

func TestAdmin_Changes(t *testing.T) {
	socket, f := feedSocket(t, func(o *AdminOptions) { o.MaxBody = 1000 })
	send := func(skipBad bool, file string) (Changed, error) {
		return AdminChanges(t.Context(), socket, skipBad, strings.NewReader(file), nil)
	}
	if done, err := send(false, lines(lineStolen, lineSuspended)); err != nil || done.Applied != 2 || done.Version != 1 || f.count() != 2 {
		t.Errorf("two good lines: %+v, %v", done, err)
	}
	_, err := send(false, lines(lineStolen, lineAbsent))
	if fault, ok := errors.AsType[*LineFault](err); !ok || *fault != (LineFault{2, "there is no such medium"}) || f.count() != 2 {
		t.Errorf("a bad line: %v, %d applied", err, f.count())
	}
	if done, err := send(true, lines(lineStolen, lineAbsent)); err != nil || done.Applied != 1 || len(done.Skipped) != 1 || done.Skipped[0].Line != 2 {
		t.Errorf("a bad line skipped: %+v, %v", done, err)
	}
	if _, err := send(false, strings.Repeat(lineStolen+"\n", 20)); err == nil || !strings.Contains(err.Error(), "larger than 1000 bytes") || f.count() != 3 {
		t.Errorf("a file that is too large: %v, %d applied", err, f.count())
	}
	res, err := adminCall(t.Context(), http.MethodPost, socket, "/changes?skip_bad=perhaps", strings.NewReader(lineStolen))
	if refused, ok := errors.AsType[*AdminRefused](err); !ok || refused.Status != http.StatusBadRequest {
		t.Errorf("a parameter that is neither 0 nor 1: %v, %v", res, err)
	}
}

// TestAdmin_Feed: an answer comes while the stream stays open, whatever else the
// socket is asked meanwhile.
func TestAdmin_Feed(t *testing.T) {
	socket, f := feedSocket(t, nil)
	in, out := io.Pipe()
	answers, ended := make(chan FeedAnswer), make(chan error, 1)
	go func() {
		ended <- AdminFeed(context.Background(), socket, in, func(a FeedAnswer) error { answers <- a; return nil })
	}()
	for n, line := range []string{lineStolen, lineAbsent, lineSuspended} {
		fmt.Fprintln(out, line)
		if a := <-answers; a.Line != n+1 || (a.Error == "") != (line != lineAbsent) {
			t.Errorf("%+v", a)
		}
		if v, err := AdminValidity(t.Context(), socket); err != nil || v.Mode != "both" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	out.Close()
	if a := <-answers; a.End == nil || *a.End != (FeedEnd{Lines: 3, Applied: 2, Refused: 1}) || f.count() != 2 {
		t.Errorf("%+v, %d applied", a, f.count())
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAdmin_FeedEndsWithTheGateway: whoever feeds is told that it ends, and what
// was applied until then.
func TestAdmin_FeedEndsWithTheGateway(t *testing.T) {
	var admin *Admin
	f := newFeedControl()
	socket := t.TempDir() + "/admin.sock"
	admin, err := NewAdmin(AdminOptions{
		Socket: socket, Control: f.Control, Status: func() any { return nil },
		Import: func(context.Context, string, io.Reader, Progress) (any, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- admin.Serve() }()
	in, out := io.Pipe()
	defer out.Close()
	answers, ended := make(chan FeedAnswer), make(chan error, 1)
	go func() {
		ended <- AdminFeed(context.Background(), socket, in, func(a FeedAnswer) error { answers <- a; return nil })
	}()
	fmt.Fprintln(out, lineStolen)
	<-answers
	go func() { _ = admin.Shutdown(context.Background()) }()
	if a := <-answers; a.End == nil || a.End.Error != errEnding.Error() || a.End.Applied != 1 {
		t.Errorf("%+v", a)
	}
	if err := errors.Join(<-ended, <-served); err != nil {
		t.Error(err)
	}
}

func TestAdmin_FeedsLeaveRoom(t *testing.T) {
	socket, _ := feedSocket(t, nil)
	var open []*io.PipeWriter
	answers := make(chan FeedAnswer, 2*maxFeeds)
	for range maxFeeds {
		in, out := io.Pipe()
		open = append(open, out)
		go func() {
			_ = AdminFeed(context.Background(), socket, in, func(a FeedAnswer) error { answers <- a; return nil })
		}()
		fmt.Fprintln(out, lineStolen)
		<-answers
	}
	in, out := io.Pipe()
	err := AdminFeed(t.Context(), socket, in, func(FeedAnswer) error { return nil })
	if refused, ok := errors.AsType[*AdminRefused](err); !ok || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("one feed too many: %v", err)
	}
	if _, err := AdminStatus(t.Context(), socket); err != nil {
		t.Errorf("the socket is full of feeds: %v", err)
	}
	for _, w := range append(open, out) {
		w.Close()
	}
}

func TestAdmin_Reload(t *testing.T) {
	var fail error
	socket, _ := feedSocket(t, func(o *AdminOptions) {
		o.Reload = func(context.Context) (any, error) { return map[string]int{"changed": 1}, fail }
	})
	if answer, err := AdminReload(t.Context(), socket); err != nil || strings.TrimSpace(string(answer)) != `{"changed":1}` {
		t.Errorf("%s, %v", answer, err)
	}
	for _, c := range []struct {
		fail          error
		configuration bool
	}{{&ConfigurationError{"cache.mode: must be one of four"}, true}, {errors.New("the disk is full"), false}} {
		fail = c.fail
		_, err := AdminReload(t.Context(), socket)
		refused, ok := errors.AsType[*AdminRefused](err)
		if !ok || refused.Configuration() != c.configuration || refused.Why != c.fail.Error() {
			t.Errorf("%v gives %v", c.fail, err)
		}
	}
	without, _ := feedSocket(t, nil)
	if _, err := AdminReload(t.Context(), without); err == nil || !strings.Contains(err.Error(), "no configuration to read again") {
		t.Errorf("nothing to reload: %v", err)
	}
}
