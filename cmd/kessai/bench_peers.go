package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kessai/bench"
	loadgen "kessai/bench/load"
	"kessai/bench/peers/floor"
	"kessai/bench/peers/moov"
	"kessai/bench/peers/pgbench"
	"kessai/bench/peers/postgres"
	benchreport "kessai/bench/report"
)

// peer is another program that the same load can be put to.
type peer struct {
	name   string
	caveat string // what it does not do
	serve  func(ctx context.Context, l net.Listener, dir string, p loadgen.Population) error
}

var peers = []peer{
	{"floor", floor.Caveat, func(ctx context.Context, l net.Listener, dir string, _ loadgen.Population) error {
		return floor.Serve(ctx, l, dir)
	}},
	{"moov", moov.Caveat, func(ctx context.Context, l net.Listener, dir string, p loadgen.Population) error {
		return moov.Serve(ctx, l, dir, moov.Options{Population: p, Balance: bench.OpeningBalance})
	}},
}

// benchPeerCommand is for kessai bench itself, which starts each peer as a process
// of its own.
func benchPeerCommand() *cobra.Command {
	var dir, file string
	var who loadgen.Population
	cmd := &cobra.Command{
		Use:     "peer NAME",
		Short:   "Run one of the programs that kessai bench --peers compares with",
		Example: "  kessai bench peer floor --dir floor-data --ready ready.json",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`FOLDER` for what it stores")
	cmd.Flags().StringVar(&file, "ready", "", "once it answers, write the address to `FILE` as JSON")
	cmd.Flags().IntVar(&who.Media, "media", 100_000, "cards")
	cmd.Flags().IntVar(&who.Terminals, "terminals", 1000, "terminals")
	_ = cmd.MarkFlagRequired("dir")
	cmd.RunE = action("run the peer", func(cmd *cobra.Command, args []string) error {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == args[0] })
		if i < 0 {
			return usage("there is no peer "+args[0], "the name is not known", "give floor or moov")
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return bindError("address", "127.0.0.1:0", err)
		}
		if err := (readyFile{ISO: []string{l.Addr().String()}, Data: dir}).writeTo(file); err != nil {
			return errors.Join(err, l.Close())
		}
		return peers[i].serve(cmd.Context(), l, dir, who)
	})
	return cmd
}

// round is one measurement of one program.
type round struct {
	throughput float64
	latency    bench.Percentiles // zero where it is not known
	m          *measurement      // of Kessai
	out        *loadgen.Outcome
}

// contest is every program with its rounds.
type contest struct {
	own    []round
	others map[string][]round
	caveat map[string]string
}

// rounds measures Kessai and every peer in turn, several times: whatever else the
// machine does meanwhile, it does to all of them.
func (g *ground) rounds(ctx context.Context) (*bench.Result, io.WriterTo, error) {
	c := contest{others: make(map[string][]round), caveat: make(map[string]string)}
	withPostgres := g.hasPostgres()
	for n := range g.bencher.rounds {
		m, out, err := g.measure(ctx, fmt.Sprintf("kessai, round %d", n+1))
		if err != nil {
			return nil, nil, err
		}
		c.own = append(c.own, round{out.Throughput, bench.PercentilesOf(out.Latency), m, out})
		for i := range peers {
			r, err := g.measurePeer(ctx, &peers[i], n)
			if err := c.add(peers[i].name, peers[i].caveat, r, err); err != nil {
				return nil, nil, err
			}
		}
		if withPostgres {
			r, err := g.measurePostgres(ctx, n)
			if err := c.add("pgbench", pgbench.Caveat, r, err); err != nil {
				return nil, nil, err
			}
		}
	}
	middle := median(c.own)
	r := middle.m.result(middle.out)
	c.tell(r)
	g.checkBook(r)
	return r, benchreport.Distribution{Histogram: middle.out.Latency}, nil
}

func (c *contest) add(name, caveat string, r round, err error) error {
	if err != nil {
		return fail("the peer "+name+" could not be measured", err, "run without --peers")
	}
	c.others[name], c.caveat[name] = append(c.others[name], r), caveat
	return nil
}

// tell puts the medians and ratios into the result of Kessai's own median round.
func (c *contest) tell(r *bench.Result) {
	r.Rounds = throughputs(c.own)
	for name, rounds := range c.others {
		mid := median(rounds)
		r.Peers[name] = bench.Peer{Throughput: mid.throughput, Latency: mid.latency, Rounds: throughputs(rounds), Caveat: c.caveat[name]}
		if mid.throughput > 0 {
			r.Ratios[name] = r.Throughput / mid.throughput
		}
	}
}

func (g *ground) measurePeer(ctx context.Context, p *peer, n int) (round, error) {
	dir := filepath.Join(g.dir, fmt.Sprintf("%s-%d", p.name, n))
	store := filepath.Join(dir, "store")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return round{}, err
	}
	defer os.RemoveAll(dir)
	c, err := spawn(ctx, g.stderr, dir, g.procs, "bench", "peer", p.name, "--dir", store,
		"--media", strconv.Itoa(g.media), "--terminals", strconv.Itoa(g.terms))
	if err != nil {
		return round{}, err
	}
	o := g.o
	o.Addr = c.ISO[0]
	m := &measurement{bencher: g.bencher, name: fmt.Sprintf("%s, round %d", p.name, n+1)}
	out, err := m.run(ctx, o)
	if err := errors.Join(err, c.stop()); err != nil {
		return round{}, err
	}
	return round{throughput: out.Throughput, latency: bench.PercentilesOf(out.Latency)}, nil
}

// hasPostgres says on stderr where there is none: the comparison goes on without.
func (g *ground) hasPostgres() bool {
	_, ok := postgres.Found()
	if !ok {
		fmt.Fprintf(g.stderr, "pgbench is left out: %v\n", postgres.ErrNotFound)
	}
	return ok
}

// measurePostgres has PostgreSQL measured by its own tool: the generator does not
// speak its protocol.
func (g *ground) measurePostgres(ctx context.Context, n int) (round, error) {
	l := newLive(g.stderr, "")
	defer l.clear()
	r, err := pgbench.Run(ctx, pgbench.Options{
		Clients:  min(pgbench.BestClients, g.o.Conns*g.o.Window),
		Duration: max(time.Second, g.o.Duration.Truncate(time.Second)),
		Progress: func(what string) { l.say(fmt.Sprintf("pgbench, round %d: %s", n+1, what)) },
	})
	return round{throughput: r.TPS}, err
}

// median gives the round of the middle throughput; of an even number, the lower
// of the two.
func median(rounds []round) round {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b round) int { return cmp.Compare(a.throughput, b.throughput) })
	return sorted[(len(sorted)-1)/2]
}

func throughputs(rounds []round) (v []float64) {
	for _, r := range rounds {
		v = append(v, r.throughput)
	}
	return v
}
