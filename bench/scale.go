package bench

import "time"

// Scale is how results change with one thing after the other.
type Scale struct {
	At      time.Time   `json:"at"`
	Machine Machine     `json:"machine"`
	Axes    []ScaleAxis `json:"axes"`
}

// ScaleAxis is one thing that was varied.
type ScaleAxis struct {
	Name   string       `json:"name"`
	What   string       `json:"what"` // in words
	Points []ScalePoint `json:"points"`
}

// ScalePoint is one value of it, and the whole benchmark with it.
type ScalePoint struct {
	Value  int     `json:"value"`
	Result *Result `json:"result"`
}
