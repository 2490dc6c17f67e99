package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// page is a file of the app, ready to be served.
type page struct {
	body []byte
	kind string // Content-Type
	etag string
}

// pageKinds are the types of the files that a page may consist of. Those of the
// machine it runs on are not asked: they differ.
var pageKinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json", ".webmanifest": "application/manifest+json",
}

// readPages reads a folder of files that are served as they are.
func readPages(files fs.FS) (map[string]page, error) {
	pages := make(map[string]page)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind, ok := pageKinds[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s is of no kind that a page consists of", name)
		}
		body, err := fs.ReadFile(files, name)
		sum := sha256.Sum256(body)
		pages[name] = page{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		return err
	})
	return pages, err
}

// servePages serves files below a path. What they are changes with the program
// only, and a browser asks each time whether it has.
func servePages(files map[string]page, prefix string, headers func(*fiber.Ctx)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		name := strings.TrimPrefix(c.Path(), prefix+"/")
		if name == "" {
			name = "index.html"
		}
		f, ok := files[name]
		if !ok {
			return &problem{code: problemNotFound}
		}
		headers(c)
		c.Set(fiber.HeaderCacheControl, "no-cache")
		c.Set(fiber.HeaderETag, f.etag)
		if c.Get(fiber.HeaderIfNoneMatch) == f.etag {
			return c.SendStatus(fiber.StatusNotModified)
		}
		c.Set(fiber.HeaderContentType, f.kind)
		c.Response().SetBodyRaw(f.body)
		return nil
	}
}
