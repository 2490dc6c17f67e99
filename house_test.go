package kessai_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house is described in docs/ARCHITECTURE.md. These tests hold it up: who
// may import whom, and the form of the code.

// mayImport is the import table. Imports run the way the money runs: nothing
// lower knows anything higher. A row ends with the outside modules that belong
// to the package alone; they are named where the choice matters.
var mayImport = map[string][]string{
	"kessai":               {},
	"kessai/cache":         {"kessai", "github.com/FastFilter/xorfilter"},
	"kessai/store":         {"github.com/dgraph-io/badger/v4"},
	"kessai/authz/ledger":  {"kessai", "kessai/store", "github.com/dgraph-io/badger/v4"},
	"kessai/authz/rates":   {"kessai"},
	"kessai/authz/confirm": {"kessai"},
	"kessai/authz/keys":    {"kessai"},
	"kessai/authz": {"kessai", "kessai/cache", "kessai/authz/confirm", "kessai/authz/keys", "kessai/authz/ledger", "kessai/pos/card", "kessai/pos/purse",
		"kessai/pos/sale", "kessai/pos/tether"},
	"kessai/pos/card":    {"kessai"},
	"kessai/pos/tether":  {"kessai", "kessai/pos/card"},
	"kessai/pos/iso8583": {"kessai", "github.com/moov-io/iso8583", "github.com/go-json-experiment/json"},
	"kessai/pos/purse":   {"kessai"},
	"kessai/pos/sale":    {"kessai"},
	"kessai/pos/receipt": {"kessai", "kessai/pos/sale", "github.com/boombuler/barcode", "golang.org/x/text"},
	"kessai/pos/sim":     {"kessai", "kessai/pos/card", "kessai/pos/iso8583", "kessai/pos/purse", "kessai/pos/sale", "kessai/pos/tether", "github.com/xdg-go/scram"},
	"kessai/customers":   {"kessai", "kessai/authz/ledger"},
	"kessai/customers/phones": {"kessai", "kessai/store", "kessai/customers", "kessai/pos/sale", "kessai/pos/tether", "github.com/dgraph-io/badger/v4",
		"github.com/go-webauthn/webauthn", "github.com/xdg-go/scram", "github.com/SherClockHolmes/webpush-go"},
	"kessai/merchants": {"kessai", "kessai/store", "kessai/authz/ledger", "kessai/cache", "kessai/customers", "kessai/pos/sale",
		"github.com/dgraph-io/badger/v4", "github.com/dgraph-io/ristretto/v2", "github.com/go-json-experiment/json", "go.yaml.in/yaml/v3"},
	"kessai/gateway": {"kessai", "kessai/cache", "kessai/authz", "kessai/authz/confirm", "kessai/authz/keys", "kessai/authz/ledger", "kessai/pos/iso8583", "kessai/pos/purse",
		"kessai/pos/sale", "kessai/pos/receipt",
		"kessai/merchants", "kessai/customers", "kessai/customers/phones", "kessai/gateway/web",
		"github.com/gofiber/fiber/v2", "github.com/valyala/fasthttp", "github.com/prometheus/client_golang", "github.com/prometheus/client_model",
		"github.com/go-json-experiment/json", "go.yaml.in/yaml/v3"},
	"kessai/gateway/web": {},
	"kessai/configs":     {},
	"kessai/bench/load": {"kessai", "kessai/pos/iso8583",
		"github.com/HdrHistogram/hdrhistogram-go", "golang.org/x/sys"},
	"kessai/bench": {"kessai", "kessai/authz", "kessai/authz/ledger", "kessai/bench/load", "kessai/customers",
		"kessai/gateway", "kessai/merchants",
		"github.com/HdrHistogram/hdrhistogram-go", "github.com/prometheus/client_model", "github.com/prometheus/common"},
	"kessai/bench/validity": {"kessai", "kessai/authz", "kessai/bench", "kessai/bench/load", "kessai/bench/peers/postgres",
		"kessai/cache", "kessai/customers", "kessai/merchants", "kessai/pos/iso8583", "github.com/jackc/pgx/v5"},
	"kessai/bench/reader":       {"kessai", "kessai/authz/keys", "kessai/bench", "kessai/pos/card", "kessai/pos/tether"},
	"kessai/bench/report":       {"kessai/bench", "kessai/bench/validity", "github.com/HdrHistogram/hdrhistogram-go"},
	"kessai/bench/peers/accept": {},
	"kessai/bench/peers/floor":  {"kessai/bench/peers/accept"},
	"kessai/bench/peers/moov": {"kessai", "kessai/bench/load", "kessai/bench/peers/accept",
		"github.com/dgraph-io/badger/v4", "github.com/moov-io/iso8583"},
	"kessai/bench/peers/pgbench":  {"kessai/bench/peers/postgres"},
	"kessai/bench/peers/postgres": {},
	"kessai/cmd/kessai":           {"*"},
}

type listedPackage struct {
	ImportPath, Dir, Doc string
	Imports              []string
	GoFiles              []string
}

func goList(t *testing.T) (all []listedPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportTable(t *testing.T) {
	seen := 0
	for _, p := range goList(t) {
		if len(p.GoFiles) == 0 {
			continue // nothing but tests
		}
		allowed, ok := mayImport[p.ImportPath]
		if !ok {
			t.Errorf("package %s is not in the import table: add it there and to docs/ARCHITECTURE.md, and say why", p.ImportPath)
			continue
		}
		seen++
		for _, i := range p.Imports {
			if !importAllowed(i, allowed) {
				t.Errorf("package %s imports %s, which the import table does not allow", p.ImportPath, i)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d packages were checked", seen)
	}
}

// importAllowed reports whether the table's row allows an import. The standard
// library is open to all: its paths have no dot in their first element.
func importAllowed(path string, allowed []string) bool {
	if slices.Contains(allowed, "*") {
		return true
	}
	first, _, _ := strings.Cut(path, "/")
	if first != "kessai" && !strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(allowed, func(a string) bool {
		return path == a || strings.Contains(a, ".") && strings.HasPrefix(path, a+"/")
	})
}

func TestImportTableCanFail(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"kessai/cache", "sync/atomic", true},
		{"kessai/cache", "kessai", true},
		{"kessai/cache", "kessai/authz", false},
		{"kessai/cache", "github.com/dgraph-io/badger/v4", false},
		{"kessai/authz/ledger", "github.com/dgraph-io/badger/v4/options", true},
		{"kessai/authz/ledger", "kessai/gateway", false},
		{"kessai/gateway", "kessai/pos/sim", false},
	} {
		if got := importAllowed(c.to, mayImport[c.from]); got != c.want {
			t.Errorf("%s imports %s: allowed %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

// goFiles gives every Go file of the project with its content.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const (
	maxFileLines   = 500
	maxEngineLines = 80
)

func TestForm(t *testing.T) {
	for path, src := range goFiles(t) {
		formatted, err := format.Source(src)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !bytes.Equal(formatted, src) {
			t.Errorf("%s is not as gofmt writes it", path)
		}
		lines := bytes.Count(src, []byte("\n"))
		if !strings.HasSuffix(path, "_test.go") && lines > maxFileLines {
			t.Errorf("%s has %d lines; more than %d belong into two files", path, lines, maxFileLines)
		}
		if path == "authz/engine.go" && lines > maxEngineLines {
			t.Errorf("%s has %d lines; the transaction is told on one page of %d", path, lines, maxEngineLines)
		}
	}
}

// TestPackageComments: a package says what it is for, and what not.
func TestPackageComments(t *testing.T) {
	docs := make(map[string]string)
	for path, src := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		docs[filepath.Dir(path)] += f.Doc.Text()
	}
	for dir, doc := range docs {
		if text := strings.Join(strings.Fields(doc), " "); !strings.Contains(text, "What it is for") || !strings.Contains(text, "hat it is not for") {
			t.Errorf("the comment of package %s does not say what it is for and what it is not for", dir)
		}
	}
}

// TestNoPanicWhereInputIsRead: what a stranger sends must not end the process.
// A function whose name begins with must is for mistakes in the code itself.
func TestNoPanicWhereInputIsRead(t *testing.T) {
	for path, src := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") || !readsInput(path) {
			continue
		}
		for _, where := range panics(t, path, src) {
			t.Errorf("%s calls panic", where)
		}
	}
}

// readsInput reports whether a file has to do with what comes from outside. The
// API page, which is rendered from a file in the binary, has not.
func readsInput(path string) bool {
	switch dir := filepath.Dir(path); dir {
	case ".", "pos/iso8583", "merchants", "customers/phones":
		return true
	case "gateway":
		return !strings.HasPrefix(filepath.Base(path), "http_docs")
	}
	return false
}

func panics(t *testing.T, path string, src []byte) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "must") {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" {
					found = append(found, files.Position(call.Pos()).String())
				}
			}
			return true
		})
	}
	return found
}

func TestPanicsAreFound(t *testing.T) {
	src := "package p\nfunc parse() { if true { panic(1) } }\nfunc mustParse() { panic(2) }\n"
	if got := panics(t, "p.go", []byte(src)); len(got) != 1 || got[0] != "p.go:2:26" {
		t.Errorf("found %v, want the one in parse", got)
	}
}
