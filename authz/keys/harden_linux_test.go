package keys

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestR16_HardenProcess in a process of its own, since it cannot be undone.
func TestR16_HardenProcess(t *testing.T) {
	const child = "KEYS_TEST_HARDENED"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestR16_HardenProcess$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	state := func() string {
		const prGetDumpable = 3
		dumpable, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, prGetDumpable, 0, 0)
		var core syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &core); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("dumpable %d, core dumps of %d bytes", dumpable, core.Cur)
	}
	before := state()
	if err := HardenProcess(); err != nil {
		t.Fatal(err)
	}
	if got, want := state(), "dumpable 0, core dumps of 0 bytes"; got != want || before == want {
		t.Errorf("%s; before %s; want %s", got, before, want)
	}
}
