package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kessai/bench"
	benchreport "kessai/bench/report"
)

// axis is one thing that is varied while all else stays as it is.
type axis struct {
	name   string
	what   string
	values []int
	set    func(b *bencher, v int)
}

// inFlight is the number of requests in flight that connections share on their
// axis, so that the axis is about connections and not about load.
const inFlight = 2048

var axes = []axis{
	{"conns", "connections", []int{1, 8, 64, 512, 2048, 10_000}, func(b *bencher, v int) { b.o.Conns, b.o.Window = v, max(1, inFlight/v) }},
	{"media", "cards in the registry", []int{10_000, 100_000, 1_000_000, 10_000_000}, func(b *bencher, v int) { b.media = v }},
	{"book", "transactions in the book before", []int{0, 1_000_000, 10_000_000, 50_000_000}, func(b *bencher, v int) { b.book = v }},
	{"procs", "processors of the gateway", []int{1, 2}, func(b *bencher, v int) { b.procs = v }},
}

// scaler runs one benchmark for each point of each axis.
type scaler struct {
	bencher
	points []string
}

func benchScaleCommand() *cobra.Command {
	var s scaler
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure how the gateway bears more connections, cards, history and processors",
		Example: `  kessai bench scale --json scale.json --html scale.html
  kessai bench scale --points conns=1,64,1024 --points procs=1,2 --duration 5s`,
		Long: `Runs kessai bench once for each value of each axis, everything else as given, and
writes curves. The axes are conns (which share 2048 requests in flight), media,
book and procs. The values that stand there by default take an hour, 20 GB of disk and 16 GB
of memory; --points names others. Every point has a gateway, a folder and a check of
its book to itself.`,
		Args: cobra.NoArgs,
	}
	s.flags(cmd)
	for _, f := range []string{"peers", "rounds", "addr", "http", "data", "hgrm", "book", "procs", "budget", "threshold"} {
		_ = cmd.Flags().MarkHidden(f) // they are of one run
	}
	cmd.Flags().StringArrayVar(&s.points, "points", nil, "`AXIS=VALUES` to measure, separated by commas; may be repeated (default: all)")
	cmd.Flags().BoolVar(&s.add, "add", false, "add to the points that the file of --json has already, so that an hour of measuring can be had in parts")
	cmd.Flags().StringVar(&s.svg, "svg", "", "write each curve into `FOLDER`, as scale-AXIS.svg")
	cmd.RunE = action("run the benchmarks", func(cmd *cobra.Command, _ []string) error {
		s.stdout, s.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return s.run(cmd.Context())
	})
	return cmd
}

func (s *scaler) run(ctx context.Context) error {
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	if s.peers || s.addr != "" || s.data != "" || s.hgrm != "" || len(s.thresholds) > 0 || s.budget || s.book != 0 || s.procs != 0 {
		return usage("the flags of a single run cannot be used", "kessai bench scale makes many", "see kessai bench scale --help")
	}
	// Every point is checked before the first is measured: an hour is long.
	for _, a := range chosen {
		for _, v := range a.values {
			if b := s.point(a, v); b.check() != nil {
				return b.check()
			}
		}
	}
	out, err := s.earlier()
	if err != nil {
		return err
	}
	for _, a := range chosen {
		for _, v := range a.values {
			r, err := s.measure(ctx, a, v)
			if err != nil {
				return err
			}
			out.Add(a.name, a.what, bench.ScalePoint{Value: v, Result: r})
			fmt.Fprintf(s.stdout, "%s=%d\t%s a second\tp99 %s\tbook %s\n", a.name, v, bench.Grouped(r.Throughput), bench.Milliseconds(r.Latency.P99), r.BookVerdict())
		}
		if err := s.write(out); err != nil { // after each axis, so that an end in between loses little
			return err
		}
	}
	return nil
}

// earlier gives the curves that this call adds to.
func (s *scaler) earlier() (*bench.Scale, error) {
	out := &bench.Scale{At: time.Now().UTC().Truncate(time.Second), Machine: bench.ThisMachine()}
	if !s.add {
		return out, nil
	}
	if s.json == "" {
		return nil, usage("--add cannot be used", "it adds to the file of --json", "give --json too")
	}
	b, err := os.ReadFile(s.json)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	var old bench.Scale
	if err == nil {
		err = json.Unmarshal(b, &old)
	}
	if err != nil {
		return nil, fail("cannot add to "+s.json, errors.New(plainPath(err)), "give a file that kessai bench scale wrote, or none")
	}
	out.Axes = old.Axes
	return out, nil
}

// point gives the benchmark of one point.
func (s *scaler) point(a axis, v int) *bencher {
	b := s.bencher
	b.bounds = nil
	a.set(&b, v)
	return &b
}

func (s *scaler) measure(ctx context.Context, a axis, v int) (*bench.Result, error) {
	b := s.point(a, v)
	if err := b.check(); err != nil {
		return nil, err
	}
	r, _, err := b.here(ctx)
	if err != nil {
		return nil, err
	}
	return r, b.verdict(r)
}

func (s *scaler) write(out *bench.Scale) error {
	if s.json != "" {
		b, err := json.MarshalIndent(out, "", "  ")
		if err == nil {
			err = os.WriteFile(s.json, append(b, '\n'), 0o644)
		}
		if err != nil {
			return fail("cannot write "+s.json, errors.New(plainPath(err)), "give --json a file in a folder that exists")
		}
	}
	if s.svg != "" {
		if err := s.draw(out); err != nil {
			return fail("cannot write to "+s.svg, errors.New(plainPath(err)), "give --svg a folder that exists")
		}
	}
	if s.html == "" {
		return nil
	}
	var page strings.Builder
	if _, err := io.WriterTo(benchreport.ScalePage{Scale: out}).WriteTo(&page); err != nil {
		return err
	}
	if err := os.WriteFile(s.html, []byte(page.String()), 0o644); err != nil {
		return fail("cannot write "+s.html, errors.New(plainPath(err)), "give --html a file in a folder that exists")
	}
	return nil
}

// draw writes the curves as files of their own.
func (s *scaler) draw(out *bench.Scale) error {
	for _, a := range out.Axes {
		var drawing bytes.Buffer
		if err := benchreport.ScaleDrawing(&drawing, a); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.svg, "scale-"+a.Name+".svg"), drawing.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chosen gives the axes that --points names, or all.
func (s *scaler) chosen() (list []axis, err error) {
	if len(s.points) == 0 {
		return axes, nil
	}
	for _, text := range s.points {
		name, values, _ := strings.Cut(text, "=")
		i := slices.IndexFunc(axes, func(a axis) bool { return a.name == name })
		if i < 0 {
			return nil, usage("--points "+text+" cannot be used", "there is no such axis", "give conns, media, book or procs")
		}
		a := axes[i]
		a.values = nil
		for v := range strings.SplitSeq(values, ",") {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || a.name != "book" && n == 0 {
				return nil, usage("--points "+text+" cannot be used", "its values are no numbers", "write "+name+"=1,2,3")
			}
			a.values = append(a.values, n)
		}
		list = append(list, a)
	}
	return list, nil
}
