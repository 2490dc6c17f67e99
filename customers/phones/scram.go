package phones

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"kessai"
	"kessai/customers"
)

// The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) stands here and not in
// the library that the client's half and the keys come from: that one knows the
// channel bindings of TLS and refuses every other name, it decodes base64 that
// nobody encodes so, and it takes extensions. Here nothing has two forms.

// Bindings name what is agreed to; see the package comment.
const (
	BindSale   = "kessai-sale"
	BindDevice = "kessai-device"
	BindChange = "kessai-change"
)

const (
	saltBytes = 16  // of a new verifier, and of one that is made up
	maxNonce  = 128 // characters
)

// verifier is what the gateway keeps of a password.
type verifier struct {
	iterations           int
	salt                 []byte
	storedKey, serverKey [32]byte
}

func verifierOf(v customers.Verifier) verifier {
	return verifier{v.Iterations(), v.Salt(), v.StoredKey(), v.ServerKey()}
}

// MakeVerifier makes the verifier of a password, with a new salt. Phones make it
// themselves; this is for whoever fills the registry. The password is prepared by
// SASLprep; pages in a browser have only NFKC, which for what people type is the same.
func MakeVerifier(password kessai.Secret, iterations int) (customers.Verifier, error) {
	client, err := scram.SHA256.NewClient("", password.Reveal(), "")
	if err != nil {
		return customers.Verifier{}, err
	}
	salt := random(saltBytes)
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return customers.Verifier{}, err
	}
	return customers.NewVerifier(iterations, salt, [32]byte(keys.StoredKey), [32]byte(keys.ServerKey))
}

// decode reads base64 in the one form that an encoder writes; nil for any other.
func decode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil
	}
	return b
}

// conversation is one run of SCRAM on the server's side.
type conversation struct {
	v           verifier
	header      string // gs2
	nonce       string
	firstBare   string
	serverFirst string
}

// clientFirst is the first message of a client.
type clientFirst struct {
	customer customers.ID
	nonce    string
	header   string
	bare     string
}

// parseClientFirst reads p=BINDING,,n=CUSTOMER,r=NONCE.
func parseClientFirst(text, binding string) (c clientFirst, err error) {
	c.header = "p=" + binding + ",,"
	bare, ok := strings.CutPrefix(text, c.header)
	if !ok {
		return c, fmt.Errorf("%w: client_first must begin with %s", ErrMalformed, c.header)
	}
	name, nonce, ok := strings.Cut(bare, ",")
	name, ok1 := strings.CutPrefix(name, "n=")
	nonce, ok2 := strings.CutPrefix(nonce, "r=")
	if !ok || !ok1 || !ok2 || len(nonce) < 16 || len(nonce) > maxNonce || !isNonce(nonce) {
		return c, fmt.Errorf("%w: client_first must end with n=CUSTOMER,r=NONCE, the nonce 16 to %d printable characters without a comma", ErrMalformed, maxNonce)
	}
	if c.customer, err = customers.ParseID(name); err != nil {
		return c, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c.nonce, c.bare = nonce, bare
	return c, nil
}

func isNonce(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return true
}

// begin answers the first message.
func (v verifier) begin(c clientFirst) *conversation {
	nonce := c.nonce + base64.RawURLEncoding.EncodeToString(random(18))
	return &conversation{
		v: v, header: c.header, nonce: nonce, firstBare: c.bare,
		serverFirst: fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(v.salt), v.iterations),
	}
}

// clientFinal is the last message of a client.
type clientFinal struct {
	binding      []byte
	nonce        string
	proof        []byte
	withoutProof string
}

// parseClientFinal reads c=BINDING,r=NONCE,p=PROOF.
func parseClientFinal(text string) (c clientFinal, err error) {
	bad := fmt.Errorf("%w: client_final must be c=BINDING,r=NONCE,p=PROOF", ErrMalformed)
	fields := strings.Split(text, ",")
	if len(text) > 1024 || len(fields) != 3 {
		return c, bad
	}
	binding, ok1 := strings.CutPrefix(fields[0], "c=")
	nonce, ok2 := strings.CutPrefix(fields[1], "r=")
	proof, ok3 := strings.CutPrefix(fields[2], "p=")
	c = clientFinal{decode(binding), nonce, decode(proof), fields[0] + "," + fields[1]}
	if !ok1 || !ok2 || !ok3 || c.binding == nil || len(c.proof) != 32 {
		return c, bad
	}
	return c, nil
}

// authMessage gives what both sides sign.
func (c *conversation) authMessage(f clientFinal) []byte {
	return []byte(c.firstBare + "," + c.serverFirst + "," + f.withoutProof)
}

// finish says whether the proof holds and is bound to data, and gives the
// server's answer. It takes the same time whatever is wrong.
func (c *conversation) finish(f clientFinal, data [32]byte) (serverFinal string, ok bool) {
	bound := subtle.ConstantTimeCompare(f.binding, append([]byte(c.header), data[:]...))
	same := subtle.ConstantTimeCompare([]byte(f.nonce), []byte(c.nonce))
	message := c.authMessage(f)
	holds := proofHolds(message, f.proof, c.v.storedKey)
	if bound&same == 0 || !holds {
		return "", false
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(c.v.serverKey[:], message)), true
}

// proofHolds is the heart of RFC 5802: the proof, with the signature taken off, is
// the client's key, whose hash is kept.
func proofHolds(message, proof []byte, storedKey [32]byte) bool {
	if len(proof) != sha256.Size {
		return false
	}
	clientKey := mac(storedKey[:], message)
	subtle.XORBytes(clientKey, clientKey, proof)
	h := sha256.Sum256(clientKey)
	return subtle.ConstantTimeCompare(h[:], storedKey[:]) == 1
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)
}
