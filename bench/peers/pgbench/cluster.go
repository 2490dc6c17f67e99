package pgbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

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
shared_buffers = 512MB         # the default of 128 MB is for machines of long ago
max_wal_size = 4GB             # no checkpoint for the log's size
checkpoint_timeout = 1h        # nor for time
max_connections = %d
listen_addresses = ''          # a Unix socket only
unix_socket_directories = '%s'
`

// server is one PostgreSQL server and its folder.
type server struct {
	bindir, dir string
	as          *syscall.SysProcAttr
	cmd         *exec.Cmd
	ended       chan struct{} // closed when the process has ended
	log         tail
}

// patience is how long the server may take to start, and then to stop.
const patience = 30 * time.Second

// start makes a folder and a server in it. On an error nothing is left of it.
func start(ctx context.Context, bindir string, o Options) (_ *server, err error) {
	s := &server{bindir: bindir, as: new(syscall.SysProcAttr)}
	s.dir, err = os.MkdirTemp(o.Dir, "kessai-pgbench-")
	if err != nil {
		return nil, fmt.Errorf("make the folder of PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := s.owner(); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	if _, err := s.run(ctx, "initdb", "--pgdata", data, "--username", "bench", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"); err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("the user that PostgreSQL runs as cannot reach %s; choose a folder that all may enter: %w", s.dir, err)
		}
		return nil, err
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conf, settings, o.Clients+10, strings.ReplaceAll(s.dir, "'", "''"))
	if err := errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	// Not bound to ctx: it is stopped in order, by stop.
	s.cmd = s.command(context.WithoutCancel(ctx), "postgres", "-D", data)
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

// owner gives the folder to the user who runs the server. PostgreSQL does not run
// as root; then it is the user postgres, which its package has made.
func (s *server) owner() error {
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
func (s *server) ready(ctx context.Context) error {
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

// stop ends the server and removes its folder. Processes of the server's that are
// still there end with it.
func (s *server) stop() error {
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
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *server) pgbench(ctx context.Context, args ...string) (string, error) {
	return s.run(ctx, "pgbench", append(args, "--host", s.dir, "--username", "bench", "postgres")...)
}

func (s *server) psql(ctx context.Context, sql string) (string, error) {
	return s.run(ctx, "psql", "--host", s.dir, "--username", "bench", "--no-psqlrc", "--command", sql, "postgres")
}

// run runs one of PostgreSQL's programs to its end and gives what it wrote.
func (s *server) run(ctx context.Context, name string, args ...string) (string, error) {
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

func (s *server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
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
