package sim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"github.com/xdg-go/scram"

	"kessai/pos/sale"
)

// Phone is a customer's phone, as the web app is one: it signs in, looks at what
// waits, and agrees with a password. It computes what it signs from what it was
// shown. It may be used from many goroutines at once once it is signed in.
type Phone struct {
	Customer string // who signs in
	Name     string // of the device
	Device   string // its number, once it is signed in
	Agreed   func() // is called when the gateway has taken the yes to a payment with the reader; nil: nothing is

	base string
	http *http.Client
	key  *ecdsa.PrivateKey
	spki []byte

	mu     sync.Mutex
	reader *phoneLine // the card reader that is plugged in; nil: none
}

// NewPhone makes a phone with a key of its own, for the gateway at an address such
// as http://localhost:8080. The client carries the session; nil: a new one.
func NewPhone(base, customer string, client *http.Client) (*Phone, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	own := http.Client{}
	if client != nil {
		own = *client
	}
	if own.Jar, err = cookiejar.New(nil); err != nil {
		return nil, err
	}
	return &Phone{Customer: customer, Name: "simulated phone", base: strings.TrimSuffix(base, "/"), http: &own, key: key, spki: spki}, nil
}

// PhoneSale is a payment as a phone is shown it.
type PhoneSale struct {
	Sale         sale.Sale `json:"sale"`
	Digest       string    `json:"digest"`
	Number       string    `json:"number"`
	Status       string    `json:"status"`
	Confirm      string    `json:"confirm"` // phone, claim or reader
	Deadline     string    `json:"deadline"`
	TriesLeft    int       `json:"tries_left"`
	Factors      []string  `json:"factors"`
	ApprovalCode string    `json:"approval_code"`
	RRN          string    `json:"rrn"`
	Told         struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"told"`
}

// PhoneOutcome is what became of a proof or a cancellation: approved, wrong,
// cancelled, ended or locked.
type PhoneOutcome struct {
	Outcome     string    `json:"outcome"`
	ServerFinal string    `json:"server_final"`
	Sale        PhoneSale `json:"sale"`
	Unlock      string    `json:"unlock"`
}

// SignIn signs the phone in with the customer's password.
func (p *Phone) SignIn(ctx context.Context, password string) error {
	digest := sha256.Sum256(p.spki)
	var answer struct {
		ServerFinal string `json:"server_final"`
		Device      struct {
			ID string `json:"id"`
		} `json:"device"`
	}
	valid, err := p.prove(ctx, "kessai-device", digest, password, "/phone/v1/sign-in", "/phone/v1/sign-in/",
		map[string]any{"device_key": b64(p.spki)}, map[string]any{"device_name": p.Name}, &answer)
	if err != nil {
		return err
	}
	p.Device = answer.Device.ID
	return valid(answer.ServerFinal)
}

// Remove has the gateway forget this phone, as a customer does with one that they give
// away: a customer has room for a few.
func (p *Phone) Remove(ctx context.Context) error {
	return p.ask(ctx, "DELETE", "/phone/v1/devices/"+url.PathEscape(p.Device), struct{}{}, nil)
}

// Sales gives what waits for the customer.
func (p *Phone) Sales(ctx context.Context) ([]PhoneSale, error) {
	var answer struct {
		Sales []PhoneSale `json:"sales"`
	}
	err := p.ask(ctx, "GET", "/phone/v1/sales", nil, &answer)
	return answer.Sales, err
}

// Sale gives one payment of the customer.
func (p *Phone) Sale(ctx context.Context, id string) (s PhoneSale, err error) {
	return s, p.ask(ctx, "GET", "/phone/v1/sales/"+url.PathEscape(id), nil, &s)
}

// History gives the customer's newest payments.
func (p *Phone) History(ctx context.Context) ([]PhoneSale, error) {
	var answer struct {
		Sales []PhoneSale `json:"sales"`
	}
	err := p.ask(ctx, "GET", "/phone/v1/history", nil, &answer)
	return answer.Sales, err
}

// ErrOtherSale says that the gateway wants something else signed than it shows.
var ErrOtherSale = errors.New("the digest that the gateway gives is not that of the sale that it shows")

// Approve agrees to a payment as it is shown, with the customer's password.
func (p *Phone) Approve(ctx context.Context, shown *PhoneSale, password string) (out PhoneOutcome, err error) {
	digest, err := shown.digest()
	if err != nil {
		return out, err
	}
	path := "/phone/v1/sales/" + shown.Sale.ID.String() + "/password"
	valid, err := p.prove(ctx, "kessai-sale", digest, password, path, path+"/", nil, nil, &out)
	if err == nil && out.Outcome == "approved" {
		err = valid(out.ServerFinal)
	}
	return out, err
}

// digest gives the digest of a payment, made from what is shown.
func (s *PhoneSale) digest() ([32]byte, error) {
	digest, err := s.Sale.Digest()
	if err == nil && hex.EncodeToString(digest[:]) != s.Digest {
		err = ErrOtherSale
	}
	return digest, err
}

// Cancel ends a payment without money.
func (p *Phone) Cancel(ctx context.Context, id string) (out PhoneOutcome, err error) {
	return out, p.ask(ctx, "POST", "/phone/v1/sales/"+url.PathEscape(id)+"/cancel", struct{}{}, &out)
}

// Claim makes a payment the customer's, by the code or the address that a machine
// shows.
func (p *Phone) Claim(ctx context.Context, code string) (PhoneSale, error) {
	if _, after, ok := strings.Cut(code, "#claim="); ok {
		code = after
	}
	var answer struct {
		Sale PhoneSale `json:"sale"`
	}
	err := p.ask(ctx, "POST", "/phone/v1/claims", map[string]string{"code": code}, &answer)
	return answer.Sale, err
}

// prove proves the customer's password for one thing alone (SCRAM-SHA-256 with the
// thing as channel binding, RFC 5802), and that this phone does so. The function
// that it gives says whether the gateway knows the password too.
func (p *Phone) prove(ctx context.Context, about string, digest [32]byte, password, first, last string, with, withLast map[string]any, answer any) (valid func(string) error, err error) {
	client, err := scram.SHA256.NewClient(p.Customer, password, "")
	if err != nil {
		return nil, err
	}
	talk := client.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(about), Data: digest[:]})
	clientFirst, err := talk.Step("")
	if err != nil {
		return nil, err
	}
	var begun struct {
		Try         string `json:"try"`
		ServerFirst string `json:"server_first"`
	}
	if err = p.ask(ctx, "POST", first, merged(with, "client_first", clientFirst), &begun); err != nil {
		return nil, err
	}
	clientFinal, err := talk.Step(begun.ServerFirst)
	if err != nil {
		return nil, err
	}
	_, bare, _ := strings.Cut(clientFirst, ",,")
	without, _, _ := strings.Cut(clientFinal, ",p=")
	signature, err := p.sign(digest, []byte(bare+","+begun.ServerFirst+","+without))
	if err != nil {
		return nil, err
	}
	body := merged(withLast, "client_final", clientFinal)
	body["signature"] = b64(signature)
	err = p.ask(ctx, "POST", last+begun.Try, body, answer)
	return func(serverFinal string) error { _, err := talk.Step(serverFinal); return err }, err
}

func merged(m map[string]any, name, value string) map[string]any {
	all := map[string]any{name: value}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// sign signs with the phone's own key: see package customers/phones.
func (p *Phone) sign(digest [32]byte, said []byte) ([]byte, error) {
	h := sha256.Sum256(said)
	text := sha256.Sum256(bytes.Join([][]byte{[]byte("kessai approve v1\x00"), digest[:], h[:]}, nil))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, text[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// ask asks the gateway, and reads what it answers into answer.
func (p *Phone) ask(ctx context.Context, method, path string, body, answer any) error {
	r, err := request(ctx, method, p.base+path, body)
	if err != nil {
		return err
	}
	if method != http.MethodGet {
		r.Header.Set("X-Kessai-Phone", "1")
		r.Header.Set("Origin", p.base)
	}
	return exchange(p.http, r, answer)
}
