package main

import (
	"crypto/ed25519"
	"errors"

	"kessai"
	"kessai/authz"
	"kessai/customers/phones"
	"kessai/pos/tether"
)

// readerOptions says how customers pay with a card reader that hangs on their phone.
func (b *builder) readerOptions() *authz.ReaderOptions {
	c := &b.c.Reader
	suite, _ := tether.ParseSuite(c.Suite) // Validate has checked it
	return &authz.ReaderOptions{
		Reader: b.reader, Sign: b.phones.keys.SignOffer, Medium: b.hasher.Medium, PIN: b.pin,
		Suite: suite, MaxKeys: c.MaxKeys, PINTries: c.PINTries,
		ApproveFor: c.ApproveTimeout, CardFor: c.CardTimeout, PINFor: c.PINTimeout,
	}
}

// checkReaders says why nobody could pay with a card reader, and warns where their
// keys are not as safe as they should be.
func (b *builder) checkReaders() error {
	if err := b.engine.ReaderFault(); err != nil {
		return configError("reader", err)
	}
	if err := b.engine.ReaderMemory(); err != nil {
		b.around.log.Warn("keys of payments with card readers may get into swap or into dumps: allow more locked memory (ulimit -l), or lower reader.max_keys", "error", err)
	}
	return nil
}

// reader finds a reader that may be used, and whose it is.
func (b *builder) reader(id kessai.ReaderID) (customer string, key ed25519.PublicKey, ok bool, err error) {
	r, err := b.phones.store.Reader(id)
	if errors.Is(err, phones.ErrGone) || err == nil && !r.Revoked.IsZero() {
		return "", nil, false, nil
	}
	return string(r.Customer), r.Key, err == nil, err
}

// pin says whether a card has a PIN, and how one that was typed is compared with it.
func (b *builder) pin(id kessai.MediumID) (needed bool, check func([]byte) bool, err error) {
	m, ok, err := b.registry.Medium(id)
	switch {
	case err != nil || ok && m.PIN.IsZero():
		return false, nil, err
	case !ok: // memory still has a card that the registry has no more
		return true, nil, nil
	}
	return true, func(pin []byte) bool { return b.pins.Check(m.PIN, id, pin) }, nil
}
