package web

import (
	"io/fs"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// phoneFiles gives the files of the phone app by name.
func phoneFiles(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(Phone, "phone", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(Phone, name)
		files[strings.TrimPrefix(name, "phone/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The service worker keeps the app for when there is no connection. A file that it
// forgets is missed only then.
func TestPhoneWorkerKeepsEveryFile(t *testing.T) {
	files := phoneFiles(t)
	list := regexp.MustCompile(`(?s)const files = \[(.*?)\]`).FindStringSubmatch(files["sw.js"])
	if list == nil {
		t.Fatal("sw.js has no list of files")
	}
	var kept, want []string
	for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(list[1], -1) {
		kept = append(kept, m[1])
	}
	for name := range files {
		switch {
		case name == "index.html":
			want = append(want, "") // the folder itself
		case name != "sw.js" && path.Ext(name) != ".png" && path.Ext(name) != ".webmanifest":
			want = append(want, name)
		}
	}
	slices.Sort(kept)
	slices.Sort(want)
	if !slices.Equal(kept, want) {
		t.Errorf("sw.js keeps %q, the app consists of %q", kept, want)
	}
}

// What the content security policy forbids would only be found in a browser.
func TestPhoneKeepsToItsPolicy(t *testing.T) {
	markup := regexp.MustCompile(`(?i)<style|<script(?:>| [^>]*>[^<])|\son\w+=|\sstyle=|javascript:`)
	code := regexp.MustCompile(`\beval\(|new Function|innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|setAttribute\("style"`)
	for name, text := range phoneFiles(t) {
		switch path.Ext(name) {
		case ".html":
			if found := markup.FindString(text); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		case ".js":
			if found := code.FindString(text); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		}
		for _, u := range regexp.MustCompile(`(?:https?:)?//[\w.-]+\.\w+[^\s"']*`).FindAllString(text, -1) {
			if u != "http://www.w3.org/2000/svg" && path.Ext(name) != ".png" {
				t.Errorf("%s names %s: the app uses nothing from outside", name, u)
			}
		}
	}
}

// The parts that need no browser, under Node.js: SCRAM against RFC 7677, passwords,
// the languages, and what is said to a card reader, against the vectors of pos/tether.
func TestPhoneScripts(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js")
	}
	if out, err := exec.Command(node, "--test", "browser/phone.test.mjs", "browser/reader.test.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
