package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"kessai/gateway"
)

func feedCommand() *cobra.Command {
	var skipBad bool
	cmd := &cobra.Command{
		Use:   "feed FILE | feed -",
		Short: "Change the status, expiry or limits of media and terminals at once",
		Example: `  echo '{"medium":{"pan":"4242424242424242","status":"stolen"}}' | kessai feed --data kessai-data -
  kessai feed --data kessai-data changes.jsonl
  tail -f -n +1 changes.jsonl | kessai feed --config configs/kessai.yaml -`,
		Long: `Applies changes to records that are there, one JSON object a line
(docs/REGISTRY.md has the fields). What is applied reaches every later decision
of the gateway that runs on the data folder; where none runs, the folder is
opened directly.

A FILE is applied whole, or not at all, and the first bad line is named.
--skip-bad leaves bad lines out and lists them.

With - changes are read from standard input and applied as they come. Each line
is answered on standard output when it is in force: {"line":1,"version":7}, or
{"line":2,"error":"..."}, which does not hold up the others. At the end of the
input there is a last line with the numbers. Applying a line twice does no harm.`,
		Args: cobra.ExactArgs(1),
	}
	load := addConfigFlags(cmd)
	cmd.Flags().BoolVar(&skipBad, "skip-bad", false, "leave bad lines out: they are listed, and are no failure")
	cmd.RunE = action("feed", func(cmd *cobra.Command, args []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		f := feeder{
			c: &l.Config, skipBad: skipBad, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(),
			log: newLogger(cmd.ErrOrStderr(), l.Log), progress: progressBar(cmd.ErrOrStderr()),
		}
		if args[0] == "-" {
			return f.stream(cmd.Context(), cmd.InOrStdin())
		}
		return f.file(cmd.Context(), args[0])
	})
	return cmd
}

// feeder carries changes to a gateway, or to the data folder itself.
type feeder struct {
	c         *Config
	skipBad   bool
	out, errs io.Writer
	log       *slog.Logger
	progress  gateway.Progress
}

// file applies a file, all of it or nothing.
func (f *feeder) file(ctx context.Context, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return &exitError{exitFailed, "cannot read " + path, plainPath(err), "give the path of a file of changes, or - for standard input"}
	}
	defer in.Close()
	// Not the file itself: whoever sends it would close it.
	done, err := gateway.AdminChanges(ctx, f.c.adminSocket(), f.skipBad, io.NopCloser(in), f.progress)
	if errors.Is(err, gateway.ErrNoGateway) {
		if _, err = in.Seek(0, io.SeekStart); err != nil {
			return err
		}
		err = f.direct(func(control *gateway.Control) (err error) {
			done, err = control.Changes(ctx, in, f.skipBad, f.progress)
			return err
		})
	}
	if err != nil {
		return feedError(path, err)
	}
	for _, bad := range done.Skipped {
		fmt.Fprintf(f.errs, "skipped %v\n", &bad)
	}
	_, err = fmt.Fprintf(f.out, `%s {"version":%d,"applied":%d,"skipped":%d}`+"\n", path, done.Version, done.Applied, len(done.Skipped))
	return err
}

func feedError(path string, err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*gateway.LineFault](err); ok {
		return fail("cannot apply "+path+": nothing of it was applied", err, "correct the line, or leave bad lines out with --skip-bad")
	}
	return fail("cannot apply "+path, err, "put right what it says and feed the file again; doing it twice does no harm")
}

// direct opens the data folder, on which no gateway runs.
func (f *feeder) direct(do func(*gateway.Control) error) error {
	s, err := openStores(f.c, f.log, f.progress)
	if err != nil {
		return err
	}
	return errors.Join(do(gateway.NewControl(gateway.ControlOptions{Apply: s.registry.Apply})), s.close())
}

// stream applies changes as they come.
func (f *feeder) stream(ctx context.Context, in io.Reader) error {
	var end *gateway.FeedEnd
	last := 0 // line that was answered
	answers := json.NewEncoder(f.out)
	answer := func(a gateway.FeedAnswer) error {
		end, last = a.End, max(last, a.Line)
		return answers.Encode(a)
	}
	var sent atomic.Int64
	// Asked first: a gateway that is not there must not cost what stdin has.
	_, err := gateway.AdminValidity(ctx, f.c.adminSocket())
	switch {
	case err == nil:
		err = gateway.AdminFeed(context.WithoutCancel(ctx), f.c.adminSocket(), untilEnd(ctx, in, &sent), answer)
	case errors.Is(err, gateway.ErrNoGateway):
		err = f.direct(func(control *gateway.Control) error {
			sum := control.Feed(ctx, in, answer)
			return answer(gateway.FeedAnswer{End: &sum})
		})
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	const again = "send the lines that were not answered with a version again; doing it twice does no harm"
	switch {
	case err != nil:
		return fail("the feed broke off", fmt.Errorf("%w; line %d was the last to be answered, %d were sent: those between may be in force or not", err, last, sent.Load()), again)
	case end.Error != "":
		return fail("the feed ended before its time", fmt.Errorf("%s; nothing after line %d was applied", end.Error, end.Lines), again)
	case end.Refused > 0 && !f.skipBad:
		return fail("some lines were not applied", fmt.Errorf("%d of %d lines were refused; their answers say why", end.Refused, end.Refused+end.Applied), "correct them and send them again")
	}
	return nil
}

// untilEnd gives what a reader has until it ends or ctx does, so that a stream
// that is interrupted ends in good order. It counts the lines.
func untilEnd(ctx context.Context, in io.Reader, lines *atomic.Int64) io.Reader {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	go func() {
		defer stop()
		b := make([]byte, 64<<10)
		for {
			n, err := in.Read(b)
			for _, c := range b[:n] {
				if c == '\n' {
					lines.Add(1)
				}
			}
			if _, werr := w.Write(b[:n]); werr != nil || err != nil {
				if err == io.EOF {
					err = nil
				}
				_ = w.CloseWithError(err)
				return
			}
		}
	}()
	return r
}
