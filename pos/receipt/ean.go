package receipt

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/ean"
)

// EANSVG gives the bar code of a GTIN-8 or GTIN-13 as an SVG picture that has no
// size of its own (GS1 General Specifications, section 5.2).
func EANSVG(code string) (string, error) {
	bars, err := ean.Encode(code)
	if err != nil {
		return "", fmt.Errorf("%w: a bar code shows 8 or 13 digits, the last of which is the check digit", ErrReceipt)
	}
	const margin, height = 11, 40
	var path strings.Builder
	width := bars.Bounds().Dx()
	for x := range width {
		if bars.At(x, 0) == color.Black {
			fmt.Fprintf(&path, "M%d 0h1v%dh-1z", x+margin, height)
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" shape-rendering="crispEdges" preserveAspectRatio="none">`+
		`<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="%s"/></svg>`, width+2*margin, height, escape(code), width+2*margin, height, path.String()), nil
}
