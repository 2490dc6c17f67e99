package merchants

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// digest is a SHA-256 digest, or several of them combined by XOR.
type digest [sha256.Size]byte

// MarshalText writes a digest in hexadecimal.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *digest) UnmarshalText(b []byte) error {
	n, err := hex.Decode(d[:], b[:min(len(b), 2*len(d))])
	if err == nil && (n != len(d) || len(b) != 2*len(d)) {
		err = errors.New("a digest is not of 32 bytes")
	}
	return err
}

// mix puts a record into a digest of many, or takes it out again. The order does
// not matter, so an import can tell the digest of the registry afterwards from
// the records that it changes, without reading the others. Hashing all records
// in the order of their keys would mean reading them all before the mark is set.
func (d *digest) mix(key, value []byte) {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 256), uint16(len(key)))
	d.add(sha256.Sum256(append(append(b, key...), value...)))
}

// add combines two digests of many.
func (d *digest) add(other digest) { subtle.XORBytes(d[:], d[:], other[:]) }

// chain gives the digest of the registry at a version: that of its records,
// chained to the one of the version before.
func chain(before digest, version uint64, records digest) digest {
	b := append(make([]byte, 0, 2*len(before)+8), before[:]...)
	b = binary.BigEndian.AppendUint64(b, version)
	return sha256.Sum256(append(b, records[:]...))
}

// seal is a small file beside the store that says where the registry stands.
// Badger drops the damaged tail of its log without a word, and tables with it;
// the seal knows what must be there. It has two slots, written in turn, so a
// write that is torn leaves the other as it was. A slot is a version, a digest,
// and the SHA-256 of both.
type seal struct {
	path    string
	version uint64
	digest  digest
}

const (
	sealSlot  = 4096 // bytes from one slot to the next: never in one sector
	sealBytes = 8 + 2*sha256.Size
)

// errUnsealed says that there is no slot that was written whole.
var errUnsealed = errors.New("the seal of the registry cannot be read")

// read takes the newer of the slots that were written whole.
func (s *seal) read() error {
	file, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the seal of the registry: %w", err)
	}
	return s.parse(file)
}

func (s *seal) parse(file []byte) error {
	found := false
	for slot := range 2 {
		var b [sealBytes]byte
		copy(b[:], file[min(len(file), slot*sealSlot):])
		version, sum := binary.BigEndian.Uint64(b[:]), sha256.Sum256(b[:sealBytes-sha256.Size])
		if sum != [sha256.Size]byte(b[sealBytes-sha256.Size:]) || found && version < s.version {
			continue
		}
		found, s.version, s.digest = true, version, digest(b[8:])
	}
	if !found {
		return errUnsealed
	}
	return nil
}

// put writes where the registry stands, and returns when it is on disk.
func (s *seal) put(m meta) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, sealBytes), m.Version)
	b = append(b, m.Digest[:]...)
	sum := sha256.Sum256(b)
	// O_DSYNC: the write returns when its data is on disk.
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|syscall.O_DSYNC, 0o600)
	if err == nil {
		_, err = f.WriteAt(append(b, sum[:]...), int64(m.Version%2)*sealSlot)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write the seal of the registry: %w", err)
	}
	s.version, s.digest = m.Version, m.Digest
	return nil
}

// follows says what is wrong with a store that says m of itself; nil for
// nothing. It may be one version ahead: a crash came between store and seal.
func (s *seal) follows(m meta) error {
	switch {
	case m.Version == s.version && m.Digest == s.digest:
		return nil
	case m.Version == s.version+1 && m.Digest == chain(s.digest, m.Version, m.Records):
		return nil
	case m.Version < s.version:
		return fmt.Errorf("the store is at version %d and its seal at %d: what came later is lost", m.Version, s.version)
	}
	return fmt.Errorf("the store (version %d) and its seal (version %d) do not belong together", m.Version, s.version)
}
