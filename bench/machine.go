package bench

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what numbers were measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine, as far as the kernel tells. It names no host.
func ThisMachine() Machine {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return Machine{
		CPU: procLine("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Memory: memory(procLine("/proc/meminfo", "MemTotal")), Kernel: strings.TrimSpace(string(release)),
		OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
	}
}

// memory writes a number of kB, as the kernel has it, in GiB.
func memory(kB string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kB, " kB"), 64)
	if err != nil {
		return kB
	}
	return strconv.FormatFloat(n/(1<<20), 'f', 1, 64) + " GiB"
}

// procLine gives what stands behind the colon of the first line that begins with a
// name; nothing where there is none.
func procLine(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if key, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
