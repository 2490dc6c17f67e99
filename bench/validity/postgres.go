package validity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"kessai"
	"kessai/authz"
	"kessai/bench/peers/postgres"
	"kessai/cache"
	"kessai/customers"
	"kessai/merchants"
)

// Postgres is a PostgreSQL server of its own with everybody's facts in it: a
// table of media and one of terminals, each with its primary key.
//
// Where there is a choice, it is in PostgreSQL's favour: both tables are read by
// one prepared query in one exchange, in binary, over a Unix socket, without
// pgx's conversions; both are in its memory, whole, before anything is measured.
type Postgres struct {
	server *postgres.Server
	conns  []*pgconn.PgConn
	hasher *kessai.MediumHasher
}

const (
	createTables = `
CREATE TABLE media (id bytea NOT NULL, status smallint NOT NULL, expiry smallint NOT NULL, account integer NOT NULL,
	allowed integer NOT NULL, single bigint NOT NULL, day_total bigint NOT NULL, day_count integer NOT NULL);
CREATE TABLE terminals (id bytea NOT NULL, status smallint NOT NULL, partial boolean NOT NULL, merchant bytea NOT NULL,
	currency smallint NOT NULL, account integer NOT NULL, allowed integer NOT NULL, single bigint NOT NULL,
	day_total bigint NOT NULL, day_count integer NOT NULL);`
	createKeys = `
SET maintenance_work_mem = '1GB';
ALTER TABLE media ADD PRIMARY KEY (id);
ALTER TABLE terminals ADD PRIMARY KEY (id);`
	settle = `ANALYZE media; ANALYZE terminals; CHECKPOINT;`
	warm   = `CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SELECT sum(pg_prewarm(c.oid)) FROM pg_class c WHERE c.relname IN ('media', 'media_pkey', 'terminals', 'terminals_pkey');`
	// Either may be missing, and the other is found all the same.
	query = `SELECT m.status, m.expiry, m.account, m.allowed, m.single, m.day_total, m.day_count,
	t.status, t.partial, t.merchant, t.currency, t.account, t.allowed, t.single, t.day_total, t.day_count
FROM (SELECT) one LEFT JOIN media m ON m.id = $1 LEFT JOIN terminals t ON t.id = $2`
	prepared = "judge"
	ready    = "SELECT 1 FROM filled WHERE media = %d AND terminals = %d"
	mark     = "CREATE TABLE filled AS SELECT %d AS media, %d AS terminals"
)

// bufferMB is PostgreSQL's own memory: tables and keys of ten million media fit.
const bufferMB = 3072

// StartPostgres makes a server, or takes the folder of one that is kept (empty:
// none is), and fills it if that has not been done.
func StartPostgres(ctx context.Context, s *Stores, p Population, folder string, conns int, say func(string)) (_ *Postgres, err error) {
	say("starting PostgreSQL")
	pg := &Postgres{hasher: s.Hasher}
	if pg.server, err = postgres.Start(ctx, postgres.Options{Folder: folder, Connections: conns, BufferMB: bufferMB}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pg.Close())
		}
	}()
	for range conns {
		c, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s user=%s dbname=%s", pg.server.Socket(), postgres.User, postgres.Database))
		if err != nil {
			return nil, err
		}
		pg.conns = append(pg.conns, c)
	}
	if err := pg.fill(ctx, p, say); err != nil {
		return nil, fmt.Errorf("fill PostgreSQL: %w", err)
	}
	say("warming PostgreSQL")
	if err := pg.exec(ctx, warm); err != nil {
		return nil, fmt.Errorf("read all of PostgreSQL's tables into memory (its extension pg_prewarm is needed): %w", err)
	}
	for _, c := range pg.conns {
		if _, err := c.Prepare(ctx, prepared, query, nil); err != nil {
			return nil, err
		}
	}
	return pg, nil
}

// Close ends the server.
func (pg *Postgres) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	for _, c := range pg.conns {
		err = errors.Join(err, c.Close(ctx))
	}
	return errors.Join(err, pg.server.Stop())
}

func (pg *Postgres) exec(ctx context.Context, sql string) error {
	_, err := pg.conns[0].Exec(ctx, sql).ReadAll()
	return err
}

func (pg *Postgres) fill(ctx context.Context, p Population, say func(string)) error {
	if r, err := pg.conns[0].Exec(ctx, fmt.Sprintf(ready, p.Media, p.Terminals)).ReadAll(); err == nil && len(r) == 1 && len(r[0].Rows) == 1 {
		return nil
	}
	say(fmt.Sprintf("filling PostgreSQL: %d media, %d terminals", p.Media, p.Terminals))
	if err := pg.exec(ctx, "DROP TABLE IF EXISTS media, terminals, filled;"+createTables); err != nil {
		return err
	}
	if err := pg.copy(ctx, "media", p.Media, func(b []byte, i int) []byte { return appendMedium(b, p, pg.hasher, i) }); err != nil {
		return err
	}
	if err := pg.copy(ctx, "terminals", p.Terminals, func(b []byte, i int) []byte { return appendTerminal(b, p, i) }); err != nil {
		return err
	}
	say("making PostgreSQL's primary keys")
	for _, sql := range []string{createKeys, settle, fmt.Sprintf(mark, p.Media, p.Terminals)} {
		if err := pg.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// copy fills a table by COPY in PostgreSQL's binary form.
func (pg *Postgres) copy(ctx context.Context, table string, n int, row func(b []byte, i int) []byte) error {
	in, out := io.Pipe()
	go func() {
		b := append(make([]byte, 0, 1<<20), "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		for i := range n {
			if b = row(b, i); len(b) > 1<<19 {
				if _, err := out.Write(b); err != nil {
					return // the reader has gone, and says why
				}
				b = b[:0]
			}
		}
		_, err := out.Write(append(b, 0xff, 0xff))
		_ = out.CloseWithError(err)
	}()
	_, err := pg.conns[0].CopyFrom(ctx, in, "COPY "+table+" FROM STDIN WITH (FORMAT binary)")
	return errors.Join(err, in.Close())
}

func appendMedium(b []byte, p Population, h *kessai.MediumHasher, card int) []byte {
	var digits [16]byte
	p.all().PutPAN(digits[:], card)
	pan, _ := kessai.ParsePAN(digits[:]) // its check digit was made here
	id := h.Medium(pan)
	status, expiry := p.Medium(card)
	b = binary.BigEndian.AppendUint16(b, 8)
	b = appendBytes(b, id[:])
	b = append16(append16(b, uint16(mediumStatus[status])), expiry)
	b = append32(append32(b, uint32(card+1)), uint32(kessai.AllKinds))
	return append32(append64(append64(b, 0), 0), 0)
}

func appendTerminal(b []byte, p Population, t int) []byte {
	var id [8]byte
	p.all().PutTerminalID(id[:], t)
	shop := p.all().MerchantOf(t)
	merchant, _ := kessai.ParseMerchantID(p.all().MerchantID(shop))
	b = binary.BigEndian.AppendUint16(b, 10)
	b = append16(appendBytes(b, id[:]), uint16(terminalStatus[p.Terminal(t)]))
	b = append(b, 0, 0, 0, 1, 0)
	b = append16(appendBytes(b, merchant[:]), uint16(kessai.JPY))
	b = append32(append32(b, uint32(shop+1)), uint32(kessai.AllKinds))
	return append32(append64(append64(b, 0), 0), 0)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}
func append16(b []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, 0, 0, 0, 2), v)
}
func append32(b []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), v)
}
func append64(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), v)
}

// asker judges by one connection.
func (pg *Postgres) asker(ctx context.Context, j *judge, conn int) ask {
	c, binaryForm := pg.conns[conn], []int16{1}
	return func(q *question) (kessai.ResponseCode, bool, error) {
		if err := j.parties(&j.r, q.pan[:], q.terminal[:]); err != nil {
			return 0, false, err
		}
		r := c.ExecPrepared(ctx, prepared, [][]byte{j.r.Medium[:], j.r.Terminal[:]}, binaryForm, binaryForm)
		var f authz.Facts
		if r.NextRow() {
			f = facts(r.Values())
		}
		_, err := r.Close()
		return j.by(&f), true, err
	}
}

// facts reads a row of the query. A column is nil where its table has no row.
func facts(v [][]byte) (f authz.Facts) {
	if len(v) != 16 {
		return f
	}
	if v[0] != nil {
		f.Medium = cache.Medium{
			Status: cache.MediumStatus(number(v[0])), Expiry: uint16(number(v[1])), Account: uint32(number(v[2])),
			Allowed: kessai.KindSet(number(v[3])), Limits: limits(v[4:7]),
		}
	}
	if v[7] != nil {
		f.Terminal = cache.Terminal{
			Status: cache.TerminalStatus(number(v[7])), Partial: number(v[8]) != 0, Currency: kessai.Currency(number(v[10])),
			Account: uint32(number(v[11])), Allowed: kessai.KindSet(number(v[12])), Limits: limits(v[13:16]),
		}
		copy(f.Terminal.Merchant[:], v[9])
	}
	return f
}

func limits(v [][]byte) cache.Limits {
	return cache.Limits{Single: int64(number(v[0])), DayTotal: int64(number(v[1])), DayCount: uint32(number(v[2]))}
}

// number reads a number of any size.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

var mediumStatus = map[customers.Status]cache.MediumStatus{
	customers.Issued: cache.MediumIssued, customers.Active: cache.MediumActive, customers.Lost: cache.MediumLost,
	customers.Stolen: cache.MediumStolen, customers.Withdrawn: cache.MediumWithdrawn,
}

var terminalStatus = map[merchants.TerminalStatus]cache.TerminalStatus{
	merchants.Registered: cache.TerminalRegistered, merchants.Suspended: cache.TerminalSuspended, merchants.Withdrawn: cache.TerminalWithdrawn,
}
