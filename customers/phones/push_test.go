package phones

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pushKey gives a browser's public key for messages.
func pushKey(t *testing.T) []byte {
	t.Helper()
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey().Bytes()
}

func vapidKey(t *testing.T) []byte {
	t.Helper()
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k.Bytes()
}

// pushTest gives a pusher that may call this machine, and what it was told.
func pushTest(t *testing.T, h *house, change func(*PushOptions)) (*Pusher, chan string) {
	t.Helper()
	told := make(chan string, 100)
	o := PushOptions{Store: h.store, Key: vapidKey(t), Contact: "mailto:ops@example.com", Backoff: time.Millisecond, Now: h.Service.now, Told: func(out string) { told <- out }}
	change(&o)
	p, err := newPusher(o, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, told
}

// pushServer answers push messages with what the path says, and gives its address.
func pushServer(t *testing.T, serve http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return "http://localhost:" + port
}

func subscription(t *testing.T, endpoint string) Subscription {
	t.Helper()
	s, err := ParseSubscription(endpoint, b64(pushKey(t)), b64(random(16)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPushOutcomes(t *testing.T) {
	h := newHouse(t)
	var mu sync.Mutex
	calls := make(map[string]int)
	var last http.Header
	var size int
	base := pushServer(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		calls[r.URL.Path]++
		last, size = r.Header, len(b)
		switch r.URL.Path {
		case "/ok":
			w.WriteHeader(201)
			_, _ = io.Copy(w, io.LimitReader(rand.Reader, 1<<20)) // nobody reads it all
		case "/gone":
			w.WriteHeader(410)
		case "/unknown":
			w.WriteHeader(404)
		case "/busy":
			if calls[r.URL.Path] < 3 {
				w.WriteHeader(429)
			} else {
				w.WriteHeader(201)
			}
		case "/broken":
			w.WriteHeader(503)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/refused":
			w.WriteHeader(400)
		}
	})
	p, told := pushTest(t, h, func(*PushOptions) {})
	phone := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	for _, c := range []struct {
		path, out string
		calls     int
		kept      bool
	}{
		{"/ok", PushSent, 1, true}, {"/busy", PushSent, 3, true}, {"/broken", PushFailed, 3, true}, {"/moved", PushFailed, 1, true},
		{"/refused", PushFailed, 1, true}, {"/gone", PushGone, 1, false}, {"/unknown", PushGone, 1, false},
	} {
		if err := p.Subscribe(phone.in, subscription(t, base+c.path)); err != nil {
			t.Fatal(err)
		}
		p.Ask("suzuki", h.now.Add(90*time.Second))
		if out := <-told; out != c.out {
			t.Errorf("%s: %s, want %s", c.path, out, c.out)
		}
		mu.Lock()
		if calls[c.path] != c.calls || c.path == "/moved" && calls["/ok"] != 1 {
			t.Errorf("%s was called %d times, want %d", c.path, calls[c.path], c.calls)
		}
		if last.Get("TTL") != "90" || last.Get("Urgency") != "high" || last.Get("Content-Encoding") != "aes128gcm" || !strings.HasPrefix(last.Get("Authorization"), "vapid t=") {
			t.Errorf("%s: %v", c.path, last)
		}
		if size < 3000 {
			t.Errorf("%s: %d bytes: the length tells", c.path, size)
		}
		mu.Unlock()
		devices, err := h.store.Devices("suzuki")
		if err != nil || (devices[0].Push != nil) != c.kept {
			t.Errorf("%s: the subscription is kept: %v, %v", c.path, devices[0].Push != nil, err)
		}
	}
	// What no longer waits is not sent, and nothing to nobody.
	if err := p.Subscribe(phone.in, subscription(t, base+"/ok")); err != nil {
		t.Fatal(err)
	}
	p.Ask("nobody", h.now.Add(time.Minute))
	p.Ask("suzuki", h.now)
	if out := <-told; out != PushDropped {
		t.Error(out)
	}
	if err := p.Unsubscribe(phone.in); err != nil {
		t.Fatal(err)
	}
	if devices, _ := h.store.Devices("suzuki"); devices[0].Push != nil {
		t.Error("it is kept")
	}
}

func TestPushQueueIsBounded(t *testing.T) {
	h := newHouse(t)
	begun, end := make(chan bool, 10), make(chan bool)
	base := pushServer(t, func(w http.ResponseWriter, r *http.Request) { begun <- true; <-end; w.WriteHeader(201) })
	p, told := pushTest(t, h, func(o *PushOptions) { o.Queue, o.Workers = 2, 1 })
	phone := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if err := p.Subscribe(phone.in, subscription(t, base+"/slow")); err != nil {
		t.Fatal(err)
	}
	until := h.now.Add(time.Minute)
	p.Ask("suzuki", until)
	<-begun
	for range 5 { // two wait, three are too many
		p.Ask("suzuki", until)
	}
	for range 3 {
		if out := <-told; out != PushDropped {
			t.Error(out)
		}
	}
	close(end)
	for range 3 {
		if out := <-told; out != PushSent {
			t.Error(out)
		}
	}
}

func TestWherePushMayGo(t *testing.T) {
	h := newHouse(t)
	key := vapidKey(t)
	p, err := NewPusher(PushOptions{Store: h.store, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, good := range []string{
		"https://fcm.googleapis.com/fcm/send/x", "https://updates.push.services.mozilla.com/wpush/v2/x", "https://web.push.apple.com/x",
		"https://a.push.apple.com/x", "https://db5p.notify.windows.com/w/?token=x", "https://fcm.googleapis.com:443/x", "https://FCM.googleapis.com/x",
	} {
		if err := p.checkEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "/x", "http://fcm.googleapis.com/x", "https://fcm.googleapis.com:8443/x", "https://fcm.googleapis.com.evil.example/x", "https://evil.example/fcm.googleapis.com",
		"https://fcm.googleapis.com@evil.example/x", "https://evilfcm.googleapis.com/x", "https://push.apple.com/x", "https://.push.apple.com/x", "https://evil.example#fcm.googleapis.com",
		"https://127.0.0.1/x", "https://[::1]/x", "https://localhost/x", "http://localhost:1/x", "https://169.254.169.254/latest", "gopher://fcm.googleapis.com/x", "https://fcm.googleapis.com./x",
		"https://fcm.googleapis.com%2eevil.example/x", "https://fcm.googleapis.com\\@evil.example/x", "https://user:pass@fcm.googleapis.com/x",
	} {
		if err := p.checkEndpoint(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// What a name leads to is looked at when it is called, whatever the name is.
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "10.1.2.3:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false, "169.254.169.254:80": false,
		"0.0.0.0:443": false, "[::]:443": false, "100.64.0.1:443": false, "[fc00::1]:443": false, "[fe80::1]:443": false, "224.0.0.1:443": false, "255.255.255.255:443": false,
		"[::ffff:10.0.0.1]:443": false, "[::ffff:127.0.0.1]:443": false, "[64:ff9b::a00:1]:443": false, "[2002:a00:1::]:443": false, "198.18.0.1:443": false, "x": false,
	} {
		if err := p.checkDial("tcp", address, nil); (err == nil) != want {
			t.Errorf("calling %s: %v", address, err)
		}
	}
	// And so it is in the client that is used.
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a private address was called") }))
	defer server.Close()
	if _, err := p.web.Get(server.URL); !errors.Is(err, errPrivate) {
		t.Errorf("the client calls %s: %v", server.URL, err)
	}
	if !public(netip.MustParseAddr("1.1.1.1")) {
		t.Error("nothing is public")
	}
	for _, hosts := range [][]string{{"*"}, {"*.com:443"}, {"127.0.0.1"}, {"http://x.example"}, {"x.example/y"}, {"X.example"}, {"a.*.example"}, {"localhost"}} {
		if _, err := NewPusher(PushOptions{Store: h.store, Key: key, Hosts: hosts}); err == nil {
			t.Errorf("the hosts %q are taken", hosts)
		}
	}
	if _, err := NewPusher(PushOptions{Store: h.store, Key: make([]byte, 32)}); err == nil {
		t.Error("a key of zeros is taken")
	}
	phone := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if err := p.Subscribe(phone.in, subscription(t, "https://evil.example/x")); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	for _, bad := range [][3]string{{"", "", ""}, {"https://fcm.googleapis.com/x", b64(random(65)), b64(random(16))}, {"https://fcm.googleapis.com/x", b64(pushKey(t)), b64(random(15))}, {"https://fcm.googleapis.com/" + strings.Repeat("x", 1024), b64(pushKey(t)), b64(random(16))}} {
		if _, err := ParseSubscription(bad[0], bad[1], bad[2]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

// TestBrowser_PushIsDecrypted has a push service of others' making (npm
// web-push-testing) check the message's VAPID header, and a browser's key open it.
func TestBrowser_PushIsDecrypted(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs node and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	modules, err := filepath.Abs("../../gateway/web/browser")
	if err != nil {
		t.Fatal(err)
	}
	base := startPushTesting(t, modules)
	h := newHouse(t)
	p, told := pushTest(t, h, func(*PushOptions) {})
	phone := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	var made struct {
		Data struct {
			Endpoint   string
			ClientHash string
			Keys       struct{ P256dh, Auth string }
		}
	}
	post(t, base+"/subscribe", map[string]string{"userVisibleOnly": "true", "applicationServerKey": p.PublicKey()}, &made)
	sub, err := ParseSubscription(made.Data.Endpoint, made.Data.Keys.P256dh, made.Data.Keys.Auth)
	if err != nil {
		t.Fatalf("%v: %+v", err, made)
	}
	if err := p.Subscribe(phone.in, sub); err != nil {
		t.Fatal(err)
	}
	p.Ask("suzuki", h.now.Add(time.Minute))
	if out := <-told; out != PushSent {
		t.Fatal(out)
	}
	var got struct{ Data struct{ Messages []string } }
	post(t, base+"/get-notifications", map[string]string{"clientHash": made.Data.ClientHash}, &got)
	if len(got.Data.Messages) != 1 || got.Data.Messages[0] != `{"v":1,"t":"ask"}` {
		t.Errorf("the browser reads %q", got.Data.Messages)
	}
	// With another gateway's key it is not taken.
	other, toldOther := pushTest(t, h, func(o *PushOptions) { o.Retries = -1 })
	other.Ask("suzuki", h.now.Add(time.Minute))
	if out := <-toldOther; out != PushFailed {
		t.Errorf("another key: %s", out)
	}
	post(t, base+"/expire-subscription/"+made.Data.ClientHash, struct{}{}, nil)
	p.Ask("suzuki", h.now.Add(time.Minute))
	if out := <-told; out != PushGone {
		t.Errorf("expired: %s", out)
	}
	if devices, _ := h.store.Devices("suzuki"); devices[0].Push != nil {
		t.Error("what expired is kept")
	}
}

func startPushTesting(t *testing.T, modules string) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	const script = `
const Server = require("web-push-testing/src/server.js");
const { PushApiModel } = require("web-push-testing/src/PushApiModel.js");
new Server(new PushApiModel(), Number(process.argv[1])).startServer();`
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", "-e", script, fmt.Sprint(port))
	cmd.Dir = modules
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("web-push-testing: %s", out.Bytes())
		}
	})
	base = fmt.Sprintf("http://localhost:%d", port)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Post(base+"/status", "application/json", nil); err == nil {
			_ = res.Body.Close()
			return base
		} else if time.Now().After(deadline) {
			t.Fatalf("web-push-testing does not start: %v", err)
		}
	}
}

func post(t *testing.T, url string, body, into any) {
	t.Helper()
	b, _ := json.Marshal(body)
	res, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 {
		t.Fatalf("%s: HTTP %d %s", url, res.StatusCode, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
	}
}
