package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// testCertificate makes a certificate for 127.0.0.1 that has signed itself, and
// writes it and its key into files.
func testCertificate(t *testing.T) (certFile, keyFile string, c tls.Certificate, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certFile, keyFile = write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER)
	if c, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(c.Leaf)
	return certFile, keyFile, c, pool
}

// TestISO_TLS asks over TLS with a client certificate; a client without one, or
// of an old version, is not served; one that does not begin its handshake holds
// up nobody.
func TestISO_TLS(t *testing.T) {
	certFile, keyFile, cert, pool := testCertificate(t)
	config, err := TLSConfig(certFile, keyFile, certFile)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newISOShop(t)
	o := w.options()
	o.HandshakeTimeout = isoPatience
	serveISO(t, o, tls.NewListener(plain, config))
	addr := plain.Addr().String()

	stuck := dialISO(t, addr) // sends nothing
	client := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}
	nc, err := tls.Dial("tcp", addr, client)
	if err != nil {
		t.Fatal(err)
	}
	p := newISOTerminal(t, nc)
	expect(t, p.ask(isoSale(p)), fields{0: "0210", 39: "00"})
	expectCount(t, w.metrics, "kessai_iso_disconnects_total", 0)
	stuck.nc.Close()

	for name, c := range map[string]*tls.Config{
		"no certificate": {RootCAs: pool},
		"TLS 1.1":        {RootCAs: pool, Certificates: client.Certificates, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11},
	} {
		nc, err := tls.Dial("tcp", addr, c)
		if err == nil { // with TLS 1.3 the client hears of it only when it reads
			_ = nc.SetReadDeadline(time.Now().Add(isoPatience))
			_, err = nc.Read(make([]byte, 1))
			nc.Close()
		}
		if err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: error %v, want a refusal", name, err)
		}
	}
	until(t, "three failed handshakes", func() bool {
		return metric(t, w.metrics, "kessai_iso_disconnects_total", "reason=tls_handshake") == 3
	})
}

// TestISO_UnendedHandshakeIsCut: a client that has not ended its handshake in time
// is cut.
func TestISO_UnendedHandshakeIsCut(t *testing.T) {
	certFile, keyFile, _, _ := testCertificate(t)
	config, err := TLSConfig(certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(o *ISOOptions) { o.HandshakeTimeout = 5 * time.Second }
	bubbleOn(t, limit, func(l net.Listener) net.Listener { return tls.NewListener(l, config) }, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		began := time.Now()
		stuck := newISOTerminal(t, l.dial())
		stuck.write([]byte{22, 3, 1}) // a handshake begins so
		stuck.gone()
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("the connection ended after %v, want 5s", d)
		}
		synctest.Wait()
		expectCount(t, m, "kessai_iso_disconnects_total", 1, "reason=tls_handshake")
	})
}

func TestISO_TLSConfigRefused(t *testing.T) {
	certFile, keyFile, _, _ := testCertificate(t)
	if c, err := TLSConfig(certFile, keyFile, ""); err != nil || c.ClientAuth != tls.NoClientCert || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("without client certificates: error %v", err)
	}
	for name, files := range map[string][3]string{
		"no certificate":   {"none.pem", keyFile, ""},
		"no authorities":   {certFile, keyFile, "none.pem"},
		"key as authority": {certFile, keyFile, keyFile},
	} {
		if _, err := TLSConfig(files[0], files[1], files[2]); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
