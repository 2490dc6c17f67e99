package keys

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestR16_StackIsEnough: opening must not need more stack than is overwritten.
func TestR16_StackIsEnough(t *testing.T) {
	for _, s := range suites {
		k := s.keeper(t, 1)
		key := issue(t, k)
		sealed := seal(t, key, "card", 512)
		used, moved := 0, false
		err := quietly(func() error {
			var here byte
			top := uintptr(unsafe.Pointer(&here))
			paint()
			o, err := key.unseal([]byte("card"), sealed, "ctx", true) // without undisturbed, which overwrites the paint
			used = painted(unsafe.Pointer(&here))
			moved = top != uintptr(unsafe.Pointer(&here))
			o.wipe()
			return err
		})
		if err != nil || moved {
			t.Fatalf("%v; the stack was moved: %v", err, moved)
		}
		t.Logf("%s uses %d of %d bytes of stack", s.name, used, stackRoom)
		if used < 1000 || used > stackRoom*3/4 {
			t.Errorf("%s uses %d bytes of stack; it should stay well below %d", s.name, used, stackRoom)
		}
	}
}

const (
	paintRoom = stackRoom - 2048
	paintByte = 0x5A
)

//go:noinline
func paint() {
	var room [paintRoom]byte
	for i := range room {
		room[i] = paintByte
	}
	touch(room[1:])
}

// painted gives how far below top the paint was written over.
//
//go:noinline
func painted(top unsafe.Pointer) int {
	n := paintRoom
	for n > 0 && *(*byte)(unsafe.Add(top, -n)) == paintByte {
		n--
	}
	return n
}

// TestR16_MemoryIsLocked: the system holds the memory of private halves as it was asked to.
func TestR16_MemoryIsLocked(t *testing.T) {
	k := suites[0].keeper(t, DefaultMax)
	if err := k.Locked(); err != nil {
		t.Skip(err)
	}
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	in, flags := false, ""
	at := uint64(uintptr(unsafe.Pointer(k.arena.at)))
	for line := range strings.Lines(string(b)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			in = from <= at && at < to
		}
		if rest, ok := strings.CutPrefix(line, "VmFlags:"); ok && in {
			flags = rest
		}
	}
	for flag, what := range map[string]string{"lo": "locked", "dd": "left out of core dumps", "wf": "wiped in child processes"} {
		if !slices.Contains(strings.Fields(flags), flag) {
			t.Errorf("the memory of private halves is not %s: %s", what, flags)
		}
	}
}
