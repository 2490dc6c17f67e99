package receipt

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quiet is how many light modules a QR code needs around it (ISO/IEC 18004, 6.3.8).
const quiet = 4

// modules is a QR code, true where it is dark.
type modules [][]bool

func newModules(text string) (modules, error) {
	code, err := qr.Encode(text, qr.L, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("%w: its QR code: %w", ErrReceipt, err)
	}
	size := code.Bounds().Dx()
	m := make(modules, size)
	for y := range m {
		m[y] = make([]bool, size)
		for x := range m[y] {
			m[y][x] = code.At(x, y) == color.Black
		}
	}
	return m, nil
}

func (m modules) dark(x, y int) bool {
	return y >= 0 && y < len(m) && x >= 0 && x < len(m) && m[y][x]
}

// QRSVG gives the QR code of a text as an SVG picture, which has no size of its
// own and needs neither style nor script. title is what it is for a reader of the
// screen.
func QRSVG(text, title string) (string, error) {
	m, err := newModules(text)
	if err != nil {
		return "", err
	}
	var path strings.Builder
	for y := range m {
		for x := 0; x < len(m); x++ {
			run := 0
			for m.dark(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	side := len(m) + 2*quiet
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" shape-rendering="crispEdges">`+
		`<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="%s"/></svg>`, side, side, escape(title), side, side, path.String()), nil
}

// QRText gives the QR code of a text as lines of half blocks, dark on light as
// paper is, in the middle of so many columns; each line is as wide as they. Where the columns are too few for
// the whole quiet zone, the paper's margin is the rest of it; where they are too
// few for the code, it is an error.
func QRText(text string, columns int) (string, error) {
	m, err := newModules(text)
	if err != nil {
		return "", err
	}
	if len(m) > columns {
		return "", fmt.Errorf("%w: its QR code needs %d columns", ErrReceipt, len(m))
	}
	var b strings.Builder
	margin := strings.Repeat(" ", (columns-len(m))/2)
	blank := strings.Repeat(strings.Repeat(" ", columns)+"\n", quiet/2)
	b.WriteString(blank)
	for y := 0; y < len(m); y += 2 {
		line := margin
		for x := range m {
			line += string([]rune(" ▀▄█")[bit(m.dark(x, y))+2*bit(m.dark(x, y+1))])
		}
		b.WriteString(line + strings.Repeat(" ", columns-len(margin)-len(m)) + "\n")
	}
	b.WriteString(blank)
	return b.String(), nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
