package gateway

import (
	"os"
	"regexp"
	"testing"
)

// TestPhone_RoutesAreDocumented holds docs/PHONE.md to the routes, both ways.
func TestPhone_RoutesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/PHONE.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^` ]*)` \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		if documented[row[1]] {
			t.Errorf("%s is there twice", row[1])
		}
		documented[row[1]] = true
	}
	for _, r := range newPhoneFixture(t, nil).server.phone.routes() {
		route := r.method + " " + r.path
		if !documented[route] {
			t.Errorf("docs/PHONE.md does not have %s", route)
		}
		delete(documented, route)
	}
	for route := range documented {
		t.Errorf("docs/PHONE.md has %s, which there is not", route)
	}
	for _, code := range regexp.MustCompile("[0-9]{3} `([a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, ok := problemKinds[problemCode(code[1])]; !ok {
			t.Errorf("there is no problem %s", code[1])
		}
	}
}
