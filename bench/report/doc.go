// Package report shows the result of a benchmark: as JSON, as one HTML page that
// needs nothing else, and as the distribution that tools for HdrHistogram read.
//
// What it is for: forms of a [bench.Result]. What it is not for: the table on the
// terminal, which is the result's own, and any number that the result lacks. Start
// reading with [Page].
package report

import (
	"encoding/json"
	"io"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kessai/bench"
)

// JSON writes a result for programs.
type JSON struct{ *bench.Result }

// WriteTo writes it, indented.
func (j JSON) WriteTo(w io.Writer) (int64, error) {
	b, err := json.MarshalIndent(j.Result, "", "  ")
	if err != nil {
		return 0, err
	}
	n, err := w.Write(append(b, '\n'))
	return int64(n), err
}

// Distribution writes a histogram of nanoseconds as .hgrm, in milliseconds.
type Distribution struct{ *hdrhistogram.Histogram }

// WriteTo writes it with five points to each halving of the distance to the end.
func (d Distribution) WriteTo(w io.Writer) (int64, error) {
	_, err := d.PercentilesPrint(w, 5, 1e6)
	return 0, err
}
