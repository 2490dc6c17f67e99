package merchants

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kessai/cache"
	"kessai/customers"
)

// BenchmarkApply is one change after the other, as a feed brings them: how long
// until it is on disk and in the cache, alone and while all media are read anew.
// The slowest of a hundred, and of all, are told besides. It says nothing of the
// book.
func BenchmarkApply(b *testing.B) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	for _, n := range manySizes() {
		r, _ := openMany(b, n)
		var c cache.Cache
		if err := r.Follow(b.Context(), &c, FollowOptions{Every: time.Hour}); err != nil {
			b.Fatal(err)
		}
		for _, loading := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/loading=%v", n, loading), func(b *testing.B) {
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(stopped)
					for loading {
						if err := r.Reload(); err != nil {
							b.Error(err)
						}
						select {
						case <-stop:
							return
						default:
						}
					}
				}()
				var took []time.Duration
				id := medium(b, pan(n/2))
				for b.Loop() {
					s := customers.Lost + customers.Status(len(took)%2)
					begun := time.Now()
					if _, err := r.Apply(b.Context(), []Change{{Medium: &MediumChange{ID: id, Status: s}}}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(begun))
				}
				close(stop)
				<-stopped
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
			})
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp asks the store for a medium, as the smaller modes do.
func BenchmarkLookUp(b *testing.B) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	for _, n := range manySizes() {
		r, _ := openMany(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				id := medium(b, pan(i*7919%n))
				b.StartTimer()
				if f, err := r.MediumFacts(id); err != nil || f.Status != cache.MediumActive {
					b.Fatal(f, err)
				}
			}
		})
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
