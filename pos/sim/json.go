package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Problem is what the gateway said instead of doing what it was asked (RFC 9457).
type Problem struct {
	Status int    // of HTTP
	Code   string // such as sign_in_refused
	Detail string
}

func (p *Problem) Error() string {
	said := fmt.Sprintf("the gateway answers %d", p.Status)
	if p.Code != "" {
		said += " " + p.Code
	}
	if p.Detail != "" { // a stranger is not told why
		said += ": " + p.Detail
	}
	return said
}

// maxAnswer is the longest answer that is read, in bytes.
const maxAnswer = 1 << 20

// request makes a request with a body in JSON; nil: none.
func request(ctx context.Context, method, url string, body any) (*http.Request, error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, text)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// exchange sends a request and reads what is answered; nil: nothing is. Errors are of type
// [*Problem] where the gateway refused, and of any other where no answer came.
func exchange(c *http.Client, r *http.Request, answer any) error {
	a, err := c.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	said, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if err != nil {
		return err
	}
	if a.StatusCode >= 300 {
		problem := &Problem{}
		_ = json.Unmarshal(said, problem) // a refusal without words is one too
		problem.Status = a.StatusCode
		return problem
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}
