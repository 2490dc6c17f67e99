package bench

import (
	"cmp"
	"slices"
	"time"
)

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

// Add puts a point into its axis, in the place of one that was measured before.
func (s *Scale) Add(axis, what string, p ScalePoint) {
	i := slices.IndexFunc(s.Axes, func(a ScaleAxis) bool { return a.Name == axis })
	if i < 0 {
		i, s.Axes = len(s.Axes), append(s.Axes, ScaleAxis{Name: axis, What: what})
	}
	a := &s.Axes[i]
	at, found := slices.BinarySearchFunc(a.Points, p.Value, func(q ScalePoint, v int) int { return cmp.Compare(q.Value, v) })
	if found {
		a.Points[at] = p
		return
	}
	a.Points = slices.Insert(a.Points, at, p)
}

// ScalePoint is one value of it, and the whole benchmark with it.
type ScalePoint struct {
	Value  int     `json:"value"`
	Result *Result `json:"result"`
}
