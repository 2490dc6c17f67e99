package gateway

import (
	"io/fs"

	"github.com/gofiber/fiber/v2"

	"kessai/gateway/web"
	"kessai/pos/receipt"
)

// FloorOptions is what the shop floor of the demo shows: sample shops with their
// keys, and sample customers with their passwords. Only the demo has one, because
// everybody who opens the page gets all of that.
type FloorOptions struct {
	Shops     []FloorShop     `json:"shops"`
	Customers []FloorCustomer `json:"customers"`
	RatesOf   string          `json:"rates_of"` // the day of the exchange rates, YYYY-MM-DD
	Reader    *FloorReader    `json:"reader,omitempty"`
}

// FloorShop is a merchant with one terminal.
type FloorShop struct {
	Merchant string      `json:"merchant"`
	Name     string      `json:"name"`
	Currency string      `json:"currency"`
	Terminal string      `json:"terminal"`
	Key      string      `json:"key"`
	Vending  bool        `json:"vending"`
	Items    []FloorItem `json:"items"`
}

// FloorItem is something that a shop sells.
type FloorItem struct {
	Code  string `json:"code"`
	Name  string `json:"name"`
	Price int64  `json:"price"`
	Tax   int32  `json:"tax"`
}

// FloorCustomer is somebody who can sign in.
type FloorCustomer struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Phone    string `json:"phone,omitempty"`
	Password string `json:"password"`
	Currency string `json:"currency"`
}

const floorPath = "/demo"

// floorPolicy lets the page ask the API and show a phone beside the shops.
const floorPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// floorRoutes serves the shop floor, and draws the codes that scanners read on it.
func (h *HTTP) floorRoutes() ([]httpRoute, error) {
	folder, err := fs.Sub(web.Floor, "floor")
	if err != nil {
		return nil, err
	}
	files, err := readPages(folder)
	if err != nil {
		return nil, err
	}
	page := servePages(files, floorPath, func(c *fiber.Ctx) { c.Set(fiber.HeaderContentSecurityPolicy, floorPolicy) })
	var routes []httpRoute
	if h.o.Floor.Reader != nil {
		routes = h.floorReaderRoutes(h.o.Floor.Reader)
	}
	return append(routes, []httpRoute{
		{"GET", floorPath, func(c *fiber.Ctx) error { return c.Redirect(floorPath+"/", fiber.StatusPermanentRedirect) }},
		{"GET", floorPath + "/floor.json", func(c *fiber.Ctx) error { return writeJSON(c, fiber.StatusOK, h.o.Floor) }},
		{"GET", floorPath + "/qr.svg", func(c *fiber.Ctx) error { return drawn(c, c.Query("text"), qrOf) }},
		{"GET", floorPath + "/bars.svg", func(c *fiber.Ctx) error { return drawn(c, c.Query("code"), receipt.EANSVG) }},
		{"GET", floorPath + "/*", page},
	}...), nil
}

func qrOf(text string) (string, error) { return receipt.QRSVG(text, "QR code") }

// maxDrawn is the longest text that is drawn, in bytes.
const maxDrawn = 512

// drawn answers with a text as a picture.
func drawn(c *fiber.Ctx, text string, draw func(string) (string, error)) error {
	if text == "" || len(text) > maxDrawn {
		return &problem{code: problemInvalidParameter, detail: "There must be a text of at most 512 bytes to draw."}
	}
	picture, err := draw(text)
	if err != nil {
		return &problem{code: problemInvalidParameter, detail: "This cannot be drawn."}
	}
	c.Set(fiber.HeaderContentType, pageKinds[".svg"])
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendString(picture)
}
