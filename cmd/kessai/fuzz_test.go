package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kessai/configs"
	"kessai/pos/iso8583"
)

// FuzzConfiguration: whatever stands in a file, it is taken or refused with an
// exit code, and what is taken can be taken again.
func FuzzConfiguration(f *testing.F) {
	f.Add(string(configs.Defaults))
	f.Add("http: {address: ':1'}\n")
	f.Add("iso: {listeners: [{address: ':1', tls: {cert: c, key: k}}, null]}\n")
	f.Add("iso: {listeners: [[]]}\nkeys: {pan: 12}\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, content string) {
		file := filepath.Join(t.TempDir(), "k.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := settings{file: file}.load()
		if err != nil {
			if e, ok := errors.AsType[*exitError](err); !ok || e.code != exitConfig {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := l.Validate(); err != nil {
			t.Errorf("taken, but not valid: %v", err)
		}
		for _, s := range l.inForce() {
			if s.source == "" {
				t.Errorf("%s has no source", s.key)
			}
		}
	})
}

// FuzzFieldArguments: fields on the command line mean the same as in JSON.
func FuzzFieldArguments(f *testing.F) {
	f.Add("0=0800", "70=301")
	f.Add("0=0200", "2=4242424242424242")
	f.Add("mti=0800", "0=0800")
	f.Add("=", "55=zz")
	f.Fuzz(func(t *testing.T, first, second string) {
		d, _ := iso8583.ByName(iso8583.ASCII)
		var m, again iso8583.Message
		if err := readMessage(d, &m, nil, []string{first, second}); err != nil {
			return
		}
		if err := d.ParseJSON(&again, d.AppendJSON(nil, &m)); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if a, b := d.AppendJSON(nil, &m), d.AppendJSON(nil, &again); string(a) != string(b) {
			t.Errorf("%s became %s", a, b)
		}
	})
}
