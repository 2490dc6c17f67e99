package conversations

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai/cache"
)

var update = flag.Bool("update", false, "write down in testdata/*.txt what was heard, instead of comparing")

// begin is the time at which every story begins: a Sunday in Tokyo.
var begin = time.Date(2026, 11, 22, 3, 39, 12, 0, time.UTC)

// TestConversations plays every story, each in a bubble of its own, and then
// looks at what they have covered together.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	warmUp(t)
	var played int
	seen := newCoverage()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			played++
			playFile(t, file, seen)
		})
	}
	if played == len(files) && !t.Failed() {
		seen.check(t)
	}
}

func playFile(t *testing.T, file string, seen *coverage) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	modes := []cache.Mode{cache.Both}
	if strings.Contains(parts[0].text, everyMode) {
		modes = []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter}
	}
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) { playParts(t, parts, mode, file, seen) })
	}
	for _, step := range stepName.FindAllString(string(text), -1) {
		seen.add("step %s", step)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(render(parts)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// everyMode stands in the first words of a story whose outcome must be the same
// whatever is kept in memory: it is played in each mode.
const everyMode = "In every mode."

var stepName = regexp.MustCompile(`\b[VPR]-\d+\b`)

func playParts(t *testing.T, parts []part, mode cache.Mode, file string, seen *coverage) {
	dir := dataFolder(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		p := newPlay(t, dir, seen)
		defer p.end()
		p.o.mode = mode
		for i := range parts {
			if parts[i].commands == nil {
				continue
			}
			got := p.block(parts[i].commands)
			if *update && mode == cache.Both {
				parts[i].heard = got
			} else if got != parts[i].heard {
				t.Errorf("%s:%d: after\n%s\nwas heard\n%s\nbut the story says\n%s", file, parts[i].line,
					strings.Join(parts[i].commands, "\n"), got, parts[i].heard)
			}
		}
	})
}

// warmUp has fasthttp start its clock, one goroutine for the whole process,
// outside all bubbles: in one, it would keep it from ending.
func warmUp(t *testing.T) {
	if _, err := fiber.New().Test(httptest.NewRequest("GET", "/", nil)); err != nil {
		t.Fatal(err)
	}
}

// TestStoriesCanFail: a harness that agrees with everything proves nothing.
func TestStoriesCanFail(t *testing.T) {
	parts, err := parse("# a story\n\ntill echo\n----\nsomething else\n")
	if err != nil || len(parts) != 2 || parts[1].heard != "something else\n" || parts[1].line != 3 {
		t.Fatalf("%+v, %v", parts, err)
	}
	warmUp(t)
	dir := dataFolder(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		p := newPlay(t, dir, newCoverage())
		defer p.end()
		if got := p.block(parts[1].commands); got != "till +0s 0810 00 (approved)\n" {
			t.Errorf("heard %q", got)
		}
		p.block([]string{"pause"})
		if got := p.block([]string{"till purchase 450 card=suzuki"}); got != "till +15s (silence)\n" {
			t.Errorf("heard %q", got)
		}
	})
	if !newCoverage().missing() {
		t.Error("nothing is missing where nothing was covered")
	}
}
