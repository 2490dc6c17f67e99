package reader

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"

	"kessai"
	"kessai/authz/keys"
	"kessai/pos/card"
	"kessai/pos/tether"
)

// Everybody's card: the number belongs to no card scheme.
const (
	number = "9999000000000012"
	track  = number + "=49121010000000000000"
	secret = "1234"
)

var errContent = errors.New("card or PIN came out changed")

// sealed is a payment as Kessai does it.
type sealed struct {
	keeper    *keys.Keeper
	suite     tether.Suite
	number    int
	key       *keys.Key
	offer     []byte
	cardBytes []byte
	pinBytes  []byte
	pan       kessai.PAN
}

func (p *sealed) issue() (err error) {
	p.key, err = p.keeper.Issue(kessai.TxID(p.number))
	return err
}

func (p *sealed) seal() (err error) {
	merchant, err := kessai.ParseMerchantID("BENCH")
	if err != nil {
		return err
	}
	o := tether.Offer{Suite: p.suite, ID: kessai.TxID(p.number), Merchant: merchant, Shop: "Bench", Amount: kessai.Amount{Value: 450, Currency: kessai.JPY},
		CardFor: 60, PINFor: 60, PublicKey: p.key.Public()}
	if p.offer, err = o.Encode(); err != nil {
		return err
	}
	if p.cardBytes, err = tether.SealCard(p.offer, tether.CardTrack2, []byte(track)); err != nil {
		return err
	}
	pan, err := kessai.ParsePAN(number)
	if err != nil {
		return err
	}
	p.pinBytes, err = tether.SealPIN(p.offer, pan, secret)
	return err
}

func (p *sealed) card() error {
	return p.key.Open(tether.Info(tether.StepCard, p.offer), p.cardBytes, "", nil, func(plain, _ []byte) error {
		c, err := tether.ParseCard(plain)
		p.pan = c.PAN
		return err
	})
}

func (p *sealed) pin() error {
	return p.key.Open(tether.Info(tether.StepPIN, p.offer), p.pinBytes, tether.PINKeyContext, nil, func(plain, key []byte) error {
		pin, err := card.OpenPINBlock([16]byte(key), p.pan, [16]byte(plain))
		if err == nil && string(pin.Digits()) != secret {
			err = errContent
		}
		return err
	})
}

func (p *sealed) destroy() { p.key.Destroy() }

const (
	rsaName = "rsa2048"
	rsaBits = 2048
)

// rsaPayment is a payment as the reader's source describes it. Decrypting by the
// Chinese remainder theorem with math/big is the plain way; random bytes in what is
// encrypted see to it that the same card never looks the same, and are there again
// when it is encrypted for the comparison.
type rsaPayment struct {
	key        *rsa.PrivateKey
	cardSealed *big.Int
	pinSealed  *big.Int
	exponent   *big.Int
}

func (p *rsaPayment) issue() (err error) {
	p.key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	if err == nil {
		p.key.Precompute()
		p.exponent = big.NewInt(int64(p.key.E))
	}
	return err
}

func (p *rsaPayment) seal() error {
	p.cardSealed, p.pinSealed = p.encrypt([]byte(track)), p.encrypt([]byte(secret))
	return nil
}

// encrypt puts random bytes, a zero and the content behind a zero, and raises it.
func (p *rsaPayment) encrypt(content []byte) *big.Int {
	block := make([]byte, rsaBits/8)
	random := block[1 : len(block)-len(content)-1]
	_, _ = rand.Read(random) // never fails
	for i := range random {
		random[i] |= 1
	}
	copy(block[len(block)-len(content):], content)
	return new(big.Int).Exp(new(big.Int).SetBytes(block), p.exponent, p.key.N)
}

// open decrypts, encrypts again, compares, and takes the random bytes off.
func (p *rsaPayment) open(sealed *big.Int) ([]byte, error) {
	c, k := sealed, p.key
	m1 := new(big.Int).Exp(c, k.Precomputed.Dp, k.Primes[0])
	m2 := new(big.Int).Exp(c, k.Precomputed.Dq, k.Primes[1])
	m1.Sub(m1, m2).Mul(m1, k.Precomputed.Qinv).Mod(m1, k.Primes[0])
	m := m1.Mul(m1, k.Primes[1]).Add(m1, m2)
	if new(big.Int).Exp(m, p.exponent, k.N).Cmp(sealed) != 0 {
		return nil, errContent
	}
	block := m.FillBytes(make([]byte, rsaBits/8))
	_, content, ok := bytes.Cut(block[1:], []byte{0})
	if !ok {
		return nil, errContent
	}
	return content, nil
}

func (p *rsaPayment) card() error {
	b, err := p.open(p.cardSealed)
	if err == nil {
		_, err = card.ParseTrack2(b)
	}
	return err
}

func (p *rsaPayment) pin() error {
	b, err := p.open(p.pinSealed)
	if err == nil && string(b) != secret {
		err = errContent
	}
	return err
}

func (p *rsaPayment) destroy() { p.key = nil }
