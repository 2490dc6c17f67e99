package keys

import "testing"

func BenchmarkQuietly(b *testing.B) {
	for b.Loop() {
		_ = quietly(func() error { return nil })
	}
}

func BenchmarkSale(b *testing.B) {
	for _, s := range suites {
		k := s.keeper(b, 1000)
		b.Run(s.name+"/issue", func(b *testing.B) {
			for b.Loop() {
				issue(b, k).Destroy()
			}
		})
		key := issue(b, k)
		sealed := seal(b, key, "card", 512)
		b.Run(s.name+"/open", func(b *testing.B) {
			for b.Loop() {
				if err := key.Open([]byte("card"), sealed, "ctx", nil, nothing); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
