package customers

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"kessai"
)

// hidden is what needles are XORed with, so that a search does not find itself.
const hidden = 0xa5

// copiesInMemory counts how often a needle is in the memory of this process.
func copiesInMemory(t *testing.T, needle []byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	const size = 1 << 20
	own, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(own) }()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to uint64
		if !strings.Contains(lines.Text(), " rw-p ") {
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		for at := from; at < to; at += size {
			got, _ := memory.ReadAt(own[:min(size, to-at)], int64(at)) // what is gone meanwhile has nothing
			for i := range got {
				own[i] ^= hidden
			}
			n += bytes.Count(own[:got], needle)
			clear(own)
		}
	}
	return n
}

// TestR16_ComparedPINsAreGone: once a PIN was compared, and its caller has wiped it, it
// is nowhere in memory.
func TestR16_ComparedPINsAreGone(t *testing.T) {
	k, err := NewPINKey(bytes.Repeat([]byte{3}, kessai.MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	needle := []byte{9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4, 6}
	pin := make([]byte, len(needle))
	for i := range needle {
		needle[i] = ('0' + needle[i]) ^ hidden
		pin[i] = needle[i] ^ hidden
	}
	if n := copiesInMemory(t, needle); n == 0 {
		t.Fatal("the PIN that is there is not found: this test finds nothing")
	}
	for range 20 {
		k.Check(PINVerifier{1}, kessai.MediumID{1, 2, 3}, pin)
	}
	clear(pin)
	if n := copiesInMemory(t, needle); n > 0 {
		t.Errorf("after 20 PINs were compared, %d are in memory", n)
	}
}
