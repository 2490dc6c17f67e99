package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTLS: a listener with a certificate that wants one of its clients too, and
// the JSON API with one, both built from the configuration.
func TestTLS(t *testing.T) {
	cert, key := selfSigned(t, "server")
	client, clientKey := selfSigned(t, "client")
	p := start(t, "serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--set", "log.format=text",
		"--set", "http.tls.cert="+cert, "--set", "http.tls.key="+key,
		"--set", fmt.Sprintf("iso.listeners=[{address: '127.0.0.1:0', framing: ascii4, tpdu: true, require_sign_on: true, "+
			"tls: {cert: %s, key: %s, client_ca: %s, require_client_cert: true}}]", cert, key, client))
	p.await(t, "msg=ready")
	found := regexp.MustCompile(`http=(\S+) iso=\[(\S+)\]`).FindStringSubmatch(p.said.String())
	if found == nil {
		t.Fatalf("no addresses in %s", p.said.String())
	}
	send := []string{"iso", "send", "--to", found[2], "--framing", "ascii4", "--tpdu", "6000010002", "--fill", "--tls", "--tls-ca", cert}
	with := slices.Concat(send, []string{"--tls-cert", client, "--tls-key", clientKey})
	echo := []string{"0=0800", "70=301"}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"echo", slices.Concat(with, echo), exitFine, `"39":"00"`},
		{"no sign-on", slices.Concat(with, []string{"0=0200", "2=4242424242424242", "3=000000", "4=450", "14=2912", "41=AOI00001", "49=392"}), exitFine, `"39":"58"`},
		{"no client certificate", slices.Concat(send, echo), exitFailed, "error: no reply came"},
		{"no TLS", []string{"iso", "send", "--to", found[2], "--framing", "ascii4", "--tpdu", "6000010002", "--fill", "0=0800", "70=301"}, exitFailed, "error: no reply came"},
		{"unknown authority", []string{"iso", "send", "--to", found[2], "--tls", "--tls-ca", client, "--fill", "0=0800", "70=301"}, exitConnect, "unknown authority"},
	} {
		cmd := exec.Command("kessai", c.args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, want exit code %d and %q:\n%s", c.name, err, c.code, c.want, out)
		}
	}
	out, err := exec.Command("curl", "-sS", "--cacert", cert, "https://"+found[1]+"/livez").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"ok"`) {
		t.Errorf("JSON API: %v\n%s", err, out)
	}
	p.signal(t, syscall.SIGTERM)
	if code, said := p.exit(t); code != exitFine {
		t.Errorf("exit code %d; it said:\n%s", code, said)
	}
}

// selfSigned writes a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), name+".pem"), filepath.Join(t.TempDir(), name+".key")
	writeTest(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})))
	writeTest(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert, key
}
