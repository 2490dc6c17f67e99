package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

// TestOperationExamples runs every example of docs/OPERATION.md, in the order in
// which they stand there, against a gateway with the sample data. What they print
// must be what the page says; … stands for anything within a line.
func TestOperationExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATION.md")
	if err != nil {
		t.Fatal(err)
	}
	g := startOperation(t)
	ran := 0
	for _, block := range consoleBlock.FindAllSubmatch(page, -1) {
		for _, step := range strings.Split("\n"+string(block[1]), "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "127.0.0.1:8080", g.HTTP))
			cmd.Dir = g.dir
			out, _ := cmd.CombinedOutput() // an exit code that is not 0 has a message, which is compared
			if !sameText(string(out), want) {
				t.Errorf("$ %s\n%s\nbut the page says\n%s", command, out, want)
			}
			ran++
		}
	}
	if ran < 15 {
		t.Errorf("only %d examples were found", ran)
	}
}

// startOperation starts the gateway of the page, with the files that it shows.
func startOperation(t *testing.T) *liveGateway {
	t.Helper()
	t.Setenv("ADMIN_KEY", liveAdminKey)
	t.Setenv("KESSAI_KEYS_ADMIN", liveAdminKey)
	dir := t.TempDir()
	g := &liveGateway{args: []string{"--set", "iso.listeners=[{address: '127.0.0.1:0'}]"}, dir: dir, config: filepath.Join(dir, "kessai.yaml"), data: filepath.Join(dir, "kessai-data")}
	if out, err := exec.Command("kessai", "import", "--data", g.data, "../../configs/demo.yaml").CombinedOutput(); err != nil {
		t.Fatalf("kessai import: %v\n%s", err, out)
	}
	rates, err := os.ReadFile("../../configs/eurofxref-daily.xml")
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(dir, "eurofxref-daily.xml"), string(rates))
	t.Setenv("KESSAI_RATES_FILE", "eurofxref-daily.xml")
	writeTest(t, g.config, "data: kessai-data\n")
	t.Chdir(dir)
	g.start(t)
	writeTest(t, g.config, "data: kessai-data\ncache: {mode: filter, max_age: 5m}\nhold_for: 24h\n")
	writeTest(t, filepath.Join(dir, "changes.jsonl"), `{"medium":{"pan":"4242424242424242","status":"active"}}
{"medium":{"pan":"4242424242424241","status":"lost"}}
`)
	return g
}

// sameText compares what was printed with a page, line by line. The last line
// need not end, and may go on where the page has ….
func sameText(got, want string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(want, "\n")), "…", "[^\n]*")
	return regexp.MustCompile("^" + pattern + "\n?$").MatchString(got)
}

func TestSameText(t *testing.T) {
	for _, c := range []struct {
		got, want string
		same      bool
	}{
		{"a\n", "a\n", true}, {"a", "a\n", true}, {"a 1 b\n", "a … b\n", true}, {"a\nb\n", "a\n", false}, {"a\nb", "a…\n", false}, {"b\n", "a\n", false}, {"", "a\n", false},
	} {
		if sameText(c.got, c.want) != c.same {
			t.Errorf("%q and %q: not %v", c.got, c.want, c.same)
		}
	}
}

// TestOperationNamesWhatThereIs: the settings and metrics that the page speaks of
// exist.
func TestOperationNamesWhatThereIs(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATION.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile("../../docs/METRICS.md") // which a test holds against the server
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`kessai_[a-z_]+`).FindAllString(string(page), -1) {
		if !strings.Contains(string(metrics), "`"+name+"`") {
			t.Errorf("there is no metric %s", name)
		}
	}
	known := strings.Join(knownKeys(), " ") + " "
	for _, m := range regexp.MustCompile("`((?:cache|dialogue|keys|http|log|rates|reader)\\.[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(known, m[1]+" ") && m[1] != "http.tls" {
			t.Errorf("there is no setting %s", m[1])
		}
	}
}
