package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"kessai/pos/sim"
)

func simCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "sim",
		Short: "Be a customer's phone or card reader, to try things",
		Example: `  kessai sim reader --state reader.json
  kessai sim phone --customer 1234567890 --reader 127.0.0.1:8593`,
		Long: `Simulated devices: what they say is what real ones say. They are for trials and
tests, and keep no secret from whoever sits at this computer.`,
	}, simReaderCommand(), simPhoneCommand())
}

// simReader is a simulated card reader on the command line.
type simReader struct {
	listen, state, name, ready string

	*sim.Reader
	mu   sync.Mutex
	out  io.Writer
	last string // what was printed of the display
	n    uint64 // of that view
}

func simReaderCommand() *cobra.Command {
	var s simReader
	cmd := &cobra.Command{
		Use:   "reader",
		Short: "Be a card reader that hangs on a customer's phone",
		Example: `  kessai sim reader --state reader.json
  printf 'wait card\ninsert 4242424242424242 2912 chip\nwait pin\nkeys 1234E\n' | kessai sim reader --state reader.json`,
		Long: `Waits for a phone (kessai sim phone --reader) at an address, shows its display on
standard output, and does what standard input says, a line at a time:

  insert NUMBER YYMM [chip]   puts a card into the slot; its track 2 is taken as well
  remove                      pulls it out
  keys KEYS                   presses keys: 0 to 9, < clears, X cancels, E is OK
  enrol CODE                  types the 24 digits of kessai reader invite, once asked for
  wait PHASE                  goes on when the reader is idle, code, enrols, card,
                              card_sent, pin, pin_sent or over
  quit                        switches the reader off, as Ctrl-C does

The state file holds the reader's name and its own key. Whoever has it can pretend to be
this reader. Another --state file makes another reader.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8593", "`ADDRESS` at which the phone's cable is plugged in; port 0 takes any free port")
	f.StringVar(&s.state, "state", "kessai-reader.json", "`FILE` with the reader's key and the gateway that it is enrolled with; made if it is not there")
	f.StringVar(&s.ready, "ready", "", "once a phone can be plugged in, write the address to `FILE` as JSON")
	f.StringVar(&s.name, "name", "", "what people call it: `TEXT` of at most 32 bytes, kept in the state file (at first \"Simulated reader\")")
	cmd.RunE = action("be a card reader", func(cmd *cobra.Command, _ []string) error {
		s.out = cmd.OutOrStdout()
		return s.run(cmd.Context(), cmd.InOrStdin())
	})
	return cmd
}

func (s *simReader) run(ctx context.Context, in io.Reader) (err error) {
	if s.Reader, err = sim.NewReader(sim.ReaderOptions{Name: s.name, State: s.state}); err != nil {
		return fail("the reader cannot be switched on", errors.New(plainPath(err)), "name another file with --state, or shorten --name")
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return &exitError{exitConnect, "cannot listen on " + s.listen, plainNet(err), "choose another address with --listen"}
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { l.Close() })
	s.print(fmt.Sprintf("reader %s waits at %s", s.ID(), l.Addr()))
	serving.Go(func() { s.watch(ctx) })
	serving.Go(func() { s.accept(ctx, l, &serving) })
	if s.ready != "" {
		b, _ := json.Marshal(map[string]string{"reader": l.Addr().String()}) // strings alone
		if err := writeFile(s.ready, append(b, '\n'), 0o644); err != nil {
			return fail("cannot write "+s.ready, errors.New(plainPath(err)), "give --ready a file in a folder that exists")
		}
	}
	return s.obey(ctx, in)
}

// accept takes each cable that is plugged in; the one before it falls out.
func (s *simReader) accept(ctx context.Context, l net.Listener, serving *sync.WaitGroup) {
	for {
		line, err := l.Accept()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { line.Close() })
		serving.Go(func() {
			defer stop()
			_ = s.Serve(line) // why it ended does not matter: another one can be plugged in
		})
	}
}

// obey does what is said, line by line, until the reader is switched off.
func (s *simReader) obey(ctx context.Context, in io.Reader) error {
	lines := make(chan string)
	go func() { // it may wait in a read for ever, so nobody waits for it
		defer close(lines)
		for text := bufio.NewScanner(in); text.Scan(); {
			select {
			case lines <- text.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case text, more := <-lines:
			if !more {
				lines = nil // nobody presses anything any more
			} else if text = strings.TrimSpace(text); text == "quit" {
				return nil
			} else if err := s.do(ctx, text); err != nil && ctx.Err() == nil {
				s.print("? " + err.Error())
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// watch prints what the reader shows, as it changes.
func (s *simReader) watch(ctx context.Context) {
	for {
		v := s.View()
		s.show(v)
		select {
		case <-v.Changed:
		case <-ctx.Done():
			return
		}
	}
}

// show prints what the reader shows, where that is newer and something else.
func (s *simReader) show(v sim.ReaderView) {
	text := strings.TrimRight(strings.Join(v.Display[:], " | "), " |")
	s.mu.Lock()
	defer s.mu.Unlock()
	if text = "[" + v.Phase + "] " + text; text != s.last && v.N >= s.n {
		s.last, s.n = text, v.N
		fmt.Fprintln(s.out, text)
	}
}

func (s *simReader) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, text)
}

// readerPhases are what the reader can be waited for.
var readerPhases = []string{"idle", "code", "enrols", "card", "card_sent", "pin", "pin_sent", "over"}

// do does what one line says.
func (s *simReader) do(ctx context.Context, text string) error {
	verb, rest, _ := strings.Cut(text, " ")
	switch rest = strings.TrimSpace(rest); verb {
	case "":
	case "insert":
		c, err := sim.ParseReaderCard(rest)
		if err != nil {
			return err
		}
		if !s.Insert(c) {
			return errors.New("there is a card in the slot already")
		}
	case "remove":
		s.Remove()
	case "keys":
		if strings.Trim(rest, "0123456789<XE") != "" || rest == "" {
			return errors.New("the keys are 0 to 9, < (clear), X (cancel) and E (OK), without spaces; none was pressed")
		}
		s.Type(rest)
	case "enrol":
		rest = strings.NewReplacer(" ", "", "-", "").Replace(rest)
		if len(rest) != 24 || strings.Trim(rest, "0123456789") != "" {
			return errors.New("a code has 24 digits: kessai reader invite prints it; nothing was typed")
		}
		if err := s.await(ctx, "code"); err != nil {
			return err
		}
		s.Type(rest + "E")
	case "wait":
		if !slices.Contains(readerPhases, rest) {
			return fmt.Errorf("a reader is %s", strings.Join(readerPhases, ", "))
		}
		return s.await(ctx, rest)
	default:
		return errors.New("the commands are insert, remove, keys, enrol, wait and quit")
	}
	return nil
}

// await waits for a phase, and has it printed before the next line is obeyed.
func (s *simReader) await(ctx context.Context, phase string) error {
	v, err := s.Await(ctx, func(v sim.ReaderView) bool { return v.Phase == phase })
	s.show(v)
	return err
}
