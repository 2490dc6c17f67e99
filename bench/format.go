package bench

import "strconv"

// Milliseconds writes a time for people, in the unit that suits it.
func Milliseconds(ms float64) string {
	switch {
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms >= 1:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	}
	return Microseconds(ms * 1000)
}

// Microseconds does the same for a time in microseconds.
func Microseconds(us float64) string {
	switch {
	case us >= 1000:
		return Milliseconds(us / 1000)
	case us >= 10:
		return strconv.FormatFloat(us, 'f', 0, 64) + " µs"
	}
	return strconv.FormatFloat(us, 'f', 2, 64) + " µs"
}

func count(n int64) string { return Grouped(float64(n)) }

// Grouped writes a number with commas between thousands, without a fraction.
func Grouped(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
