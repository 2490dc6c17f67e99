package gateway

import (
	_ "embed"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that readiness depends on. Detail is shown to whoever can
// reach the server: it must hold no secret.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitzero"`
}

// jsonHealth is the answer of the health routes.
type jsonHealth struct {
	Status string  `json:"status"`
	Checks []Check `json:"checks,omitempty"`
}

// livez says that the process can answer. It looks at nothing else: a restart
// does not mend what readiness waits for.
func (h *HTTP) livez(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, jsonHealth{Status: "ok"})
}

// readyz says whether payments should be sent here.
func (h *HTTP) readyz(c *fiber.Ctx) error {
	draining := Check{Name: "draining", OK: !h.draining.Load()}
	if !draining.OK {
		draining.Detail = "the gateway is shutting down"
	}
	answer, status := jsonHealth{Status: "ready", Checks: append(h.o.Ready(), draining)}, fiber.StatusOK
	for _, check := range answer.Checks {
		if !check.OK {
			answer.Status, status = "not ready", fiber.StatusServiceUnavailable
		}
	}
	return writeJSON(c, status, answer)
}

func (h *HTTP) metrics() fiber.Handler {
	return adaptor.HTTPHandler(promhttp.HandlerFor(h.o.Metrics.Gatherer(), promhttp.HandlerOpts{}))
}

//go:embed openapi.yaml
var openAPI []byte

func (h *HTTP) openapi(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "application/yaml")
	c.Response().SetBodyRaw(openAPI)
	return nil
}

func (h *HTTP) docs(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Set(fiber.HeaderContentSecurityPolicy, h.page.policy)
	c.Response().SetBodyRaw(h.page.html)
	return nil
}

func (h *HTTP) root(c *fiber.Ctx) error {
	return c.Redirect("/docs", fiber.StatusFound)
}
