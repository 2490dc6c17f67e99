// Package postgres starts a PostgreSQL server of its own, in a folder of its own,
// for the comparisons with it.
//
// What it is for: pgbench, and judging validity by a database (bench/validity).
// What it is not for: any server that somebody else runs; it connects to none.
// Start reading with [Start].
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotFound says that PostgreSQL is not installed, or only its client.
var ErrNotFound = errors.New("pgbench, initdb, postgres and psql were not found together: install PostgreSQL (Debian: apt install postgresql), or add its folder of programs to PATH")

// User is the superuser and Database the database that a server has.
const User, Database = "bench", "postgres"

// Options says how to start a server.
type Options struct {
	Dir         string // the folder is made in it; for root, one that the user postgres may enter. Default: that for temporary files
	Folder      string // its own folder, which is kept by Stop and used again as it is; Dir is not used then
	Connections int    // that it takes, at most
	BufferMB    int    // its own share of memory (shared_buffers); default 512
}

// Found looks for the folder with PostgreSQL's programs: in PATH, then where
// Debian puts them, the newest version first.
func Found() (bindir string, ok bool) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // fails only for a bad pattern
	slices.SortFunc(installed, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range append(dirs, installed...) {
		if !slices.ContainsFunc([]string{"pgbench", "initdb", "postgres", "psql"}, func(name string) bool {
			_, err := exec.LookPath(filepath.Join(dir, name))
			return err != nil
		}) && filepath.IsAbs(dir) {
			return dir, true
		}
	}
	return "", false
}

// version gives N of /usr/lib/postgresql/N/bin.
func version(bindir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bindir)))
	return n
}

// settings are those that differ from PostgreSQL's defaults, beside where it
// listens. Everything about durability is as PostgreSQL has it (fsync and
// synchronous_commit are on) and named only so that it can be read here.
//
// Where there is a choice, it is in PostgreSQL's favour: no checkpoint falls into
// a run, and none stands before it, so that no page is written to the log whole
// when it is first changed. A checkpoint before the run cost up to a tenth.
const settings = `
fsync = on
synchronous_commit = on
full_page_writes = on
max_wal_size = 4GB             # no checkpoint for the log's size
checkpoint_timeout = 1h        # nor for time
listen_addresses = ''          # a Unix socket only
`

// Server is one PostgreSQL server and its folder.
type Server struct {
	bindir, dir string
	keep        bool
	as          *syscall.SysProcAttr
	cmd         *exec.Cmd
	ended       chan struct{} // closed when the process has ended
	log         tail
}

// patience is how long the server may take to start, and then to stop.
const patience = 30 * time.Second

// Start makes a folder and a server in it, and returns when it answers. On an
// error nothing is left of it, unless the folder is one that is kept.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	bindir, ok := Found()
	if !ok {
		return nil, ErrNotFound
	}
	s := &Server{bindir: bindir, dir: o.Folder, keep: o.Folder != "", as: new(syscall.SysProcAttr)}
	if s.keep {
		err = os.MkdirAll(s.dir, 0o700)
	} else {
		s.dir, err = os.MkdirTemp(o.Dir, "kessai-postgres-")
	}
	if err != nil {
		return nil, fmt.Errorf("make the folder of PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err := s.owner(); err != nil {
		return nil, err
	}
	if err := s.init(ctx); err != nil {
		return nil, err
	}
	// Not bound to ctx: it is stopped in order, by Stop. What is set here may differ
	// from one start of a kept folder to the next.
	s.cmd = s.command(context.WithoutCancel(ctx), "postgres", "-D", s.data(), "-k", s.dir,
		"-N", strconv.Itoa(o.Connections+10), "-c", fmt.Sprintf("shared_buffers=%dMB", max(o.BufferMB, defaultBufferMB)))
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.ended = make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		s.ended = nil
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in its log
		close(s.ended)
	}()
	return s, s.ready(ctx)
}

// defaultBufferMB: PostgreSQL's own default of 128 MB is for machines of long ago.
const defaultBufferMB = 512

// Socket gives the folder of the Unix socket on which it listens.
func (s *Server) Socket() string { return s.dir }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// init makes the files of the server, where a kept folder does not have them.
func (s *Server) init(ctx context.Context) error {
	conf := filepath.Join(s.data(), "postgresql.conf")
	if b, err := os.ReadFile(conf); err == nil && strings.HasSuffix(string(b), settings) {
		return nil
	}
	if _, err := s.Run(ctx, "initdb", "--pgdata", s.data(), "--username", User, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"); err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("the user that PostgreSQL runs as cannot reach %s; choose a folder that all may enter: %w", s.dir, err)
		}
		return err
	}
	f, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Close())
}

// owner gives the folder to the user who runs the server. PostgreSQL does not run
// as root; then it is the user postgres, which its package has made.
func (s *Server) owner() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("PostgreSQL does not run as root, and there is no other user for it: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
		return fmt.Errorf("give the folder to the user postgres: %w", err)
	}
	return nil
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("PostgreSQL did not start in time"))
	defer cancel()
	for {
		_, err := s.psql(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("PostgreSQL ended at once: %s", s.log.text())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the server, whose processes end with it, and removes its folder where
// it is not one that is kept.
func (s *Server) Stop() error {
	var err error
	if s.ended != nil {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown; fails where it has ended
		select {
		case <-s.ended:
		case <-time.After(patience):
			_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate
			select {
			case <-s.ended:
			case <-time.After(patience):
				err = errors.Join(errors.New("PostgreSQL did not stop and was killed"), s.cmd.Process.Kill())
				<-s.ended
			}
		}
	}
	if s.keep {
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) psql(ctx context.Context, sql string) (string, error) {
	return s.Run(ctx, "psql", "--host", s.dir, "--username", User, "--no-psqlrc", "--command", sql, Database)
}

// Run runs one of PostgreSQL's programs to its end and gives what it wrote.
func (s *Server) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := s.command(ctx, name, args...)
	var out, errs tail
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("%s: %w: %s", name, err, errs.text())
	}
	return out.text(), nil
}

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bindir, name), args...)
	cmd.SysProcAttr, cmd.Dir = s.as, s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // no PGHOST or PGOPTIONS of somebody's
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	return cmd
}

// tail keeps the end of what a program writes. It is written to by one goroutine,
// and read when that has ended.
type tail struct{ b []byte }

const maxTail = 8 << 10 // bytes

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - maxTail; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) text() string { return strings.TrimSpace(string(t.b)) }
