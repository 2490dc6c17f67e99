package validity

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kessai/bench"
)

// Result is what judging costs. Its JSON names are documented in docs/VALIDITY.md
// and change only by addition. Times are medians of the rounds.
type Result struct {
	Version  string        `json:"version"`
	At       time.Time     `json:"at"`
	Settings Settings      `json:"settings"`
	Machine  bench.Machine `json:"machine"`

	JudgeNS    float64 `json:"judge_ns"`          // mode both: from the bytes of the two IDs to the verdict
	NameNS     float64 `json:"name_ns"`           // the part of that in which the card number becomes a keyed hash
	TogetherNS float64 `json:"together_ns"`       // the same as JudgeNS for one of 32 that came together
	MessageNS  float64 `json:"message_ns"`        // from the bytes of a whole ISO 8583 message
	Allocs     float64 `json:"allocs"`            // of one verdict in mode both
	Bytes      float64 `json:"bytes_a_medium"`    // in mode both
	Wrong      int64   `json:"wrong"`             // verdicts that were not what they have to be
	Asked      int64   `json:"asked"`             // all of them
	Postgres   string  `json:"postgres,omitzero"` // its version

	Modes  map[string]*Mode     `json:"modes"`
	Others map[string]*Measured `json:"others"` // registry and postgres: asked every time
	Ratios map[string]float64   `json:"ratios"` // how many times faster mode both is

	Load *Load `json:"load"` // null where no gateway was measured
}

// Settings are what was asked of the run.
type Settings struct {
	Media     int      `json:"media"`
	Terminals int      `json:"terminals"`
	Invalid   int      `json:"invalid_media"`
	Seed      uint64   `json:"seed"`
	Rounds    int      `json:"rounds"`
	Slot      string   `json:"slot"` // how long each is asked, in each round
	Workers   int      `json:"workers"`
	PgConns   int      `json:"postgres_connections"`
	Gateway   []string `json:"gateway,omitzero"`
}

// Measured is what one way of judging costs.
type Measured struct {
	NS        float64   `json:"ns"`           // of one verdict, asked one after the other
	PerSecond float64   `json:"per_second"`   // verdicts by all processors together
	Allocs    float64   `json:"allocs"`       // of one verdict, in this process
	Rounds    []float64 `json:"rounds_ns"`    // of each round
	Wrong     int64     `json:"-"`            // verdicts that are not what they have to be
	Asked     int64     `json:"-"`            // all
	Waited    float64   `json:"waited_share"` // of early answers that had to wait for the registry
}

// Mode is what one mode of the cache costs.
type Mode struct {
	Early   *Measured `json:"early"`   // the answer that opens a dialogue: memory alone
	Verdict *Measured `json:"verdict"` // with what memory lacks looked up in the registry

	Bytes       int     `json:"bytes"` // of the snapshot, as it counts itself
	Heap        int     `json:"heap_bytes"`
	BytesMedium float64 `json:"bytes_a_medium"` // of the snapshot, by the number of media in the registry
	LoadSeconds float64 `json:"load_seconds"`
	Resident    int     `json:"resident_bytes,omitzero"` // of a whole gateway in this mode
	StartSecs   float64 `json:"start_seconds,omitzero"`  // of that gateway, from its start until it answers
	Payments    float64 `json:"payments_per_s,omitzero"` // that it takes, closed loop
}

// Load is a gateway under load while what is valid changes.
type Load struct {
	Maximum float64            `json:"maximum_per_s"` // closed loop
	Rate    float64            `json:"rate_per_s"`    // of the phases, open loop
	Phases  map[string]*Phase  `json:"phases"`
	Ratios  map[string]float64 `json:"ratios"` // p99 of each phase by that of the quiet one
}

// PhaseOrder is the order in which phases are measured and shown.
var PhaseOrder = []string{"quiet", "feed", "refresh", "modes"}

// PhaseWhat says what happens in each.
var PhaseWhat = map[string]string{
	"quiet":   "nothing changes",
	"refresh": "the cache is read anew from the registry, again and again",
	"modes":   "the mode is changed by reload, again and again",
	"feed":    "a stream of changes comes in",
}

// Phase is one of its phases: the median of its rounds, by p99.
type Phase struct {
	Rate     float64           `json:"rate_per_s"`
	Latency  bench.Percentiles `json:"latency_ms"`
	P99s     []float64         `json:"rounds_p99_ms"`
	Answered int64             `json:"answered"` // in all rounds, and so the rest
	Missed   int64             `json:"missed"`
	Declined int64             `json:"declined"` // none has a reason to be
	Errors   int64             `json:"errors"`
	Events   int64             `json:"events"`   // refreshes, changes of mode, changes of media
	EventMS  float64           `json:"event_ms"` // that one took, median
	EventMax float64           `json:"event_max_ms"`
}

// Values gives every number of the result by its name, as in ratios.postgres or
// modes.both.verdict.ns.
func (r *Result) Values() map[string]float64 {
	b, err := json.Marshal(r)
	if err != nil {
		return nil // no value of it cannot be written
	}
	var tree map[string]any
	_ = json.Unmarshal(b, &tree) // it was written just now
	values := make(map[string]float64)
	flatten(values, "", tree)
	return values
}

func flatten(into map[string]float64, prefix string, tree map[string]any) {
	for k, v := range tree {
		switch v := v.(type) {
		case float64:
			into[prefix+k] = v
		case map[string]any:
			flatten(into, prefix+k+".", v)
		}
	}
}

// Bound is a bound that a result must keep, such as ratios.postgres>=200.
type Bound struct {
	text, name, than string
	value            float64
}

// names are those of all the numbers that there can be.
var names = func() map[string]float64 {
	r := Result{
		Modes: make(map[string]*Mode), Others: map[string]*Measured{"registry": {}, "postgres": {}},
		Ratios: map[string]float64{"registry": 0, "postgres": 0},
		Load:   &Load{Phases: make(map[string]*Phase), Ratios: make(map[string]float64)},
	}
	for _, m := range modes {
		r.Modes[m.String()] = &Mode{Early: new(Measured), Verdict: new(Measured), Resident: 1, StartSecs: 1, Payments: 1}
	}
	for _, p := range PhaseOrder {
		r.Load.Phases[p], r.Load.Ratios[p] = new(Phase), 0
	}
	return r.Values()
}()

// ParseBound reads a bound on one number of the result.
func ParseBound(text string) (Bound, error) {
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return Bound{}, fmt.Errorf("%q is no threshold; a threshold is ratios.postgres>=200 or judge_ns<=400", text)
	}
	b := Bound{text: strings.TrimSpace(text), name: strings.TrimSpace(text[:at]), than: text[at : at+1]}
	rest := text[at+1:]
	if strings.HasPrefix(rest, "=") {
		b.than, rest = b.than+"=", rest[1:]
	}
	if _, ok := names[b.name]; !ok {
		return Bound{}, fmt.Errorf("%q bounds nothing that is measured; %s and others are (docs/VALIDITY.md)", text,
			"judge_ns, together_ns, message_ns, allocs, bytes_a_medium, wrong, ratios.registry, ratios.postgres, load.ratios.refresh")
	}
	var err error
	if b.value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64); err != nil || b.value != b.value {
		return Bound{}, fmt.Errorf("%q needs a number", text)
	}
	return b, nil
}

// Check gives nothing where the result keeps the bound, and what it was where not.
func (b Bound) Check(r *Result) string {
	v, ok := r.Values()[b.name]
	switch {
	case !ok:
		return b.text + ": it was not measured"
	case b.than == "<" && v < b.value, b.than == "<=" && v <= b.value, b.than == ">" && v > b.value, b.than == ">=" && v >= b.value:
		return ""
	}
	return fmt.Sprintf("%s: it was %s", b.text, strconv.FormatFloat(v, 'g', 6, 64))
}

// Keep takes over from another result what its gateways were measured to take.
func (r *Result) Keep(other *Result) {
	r.Load = other.Load
	for name, m := range r.Modes {
		if o := other.Modes[name]; o != nil {
			m.Resident, m.StartSecs, m.Payments = o.Resident, o.StartSecs, o.Payments
		}
	}
}

// ModeOrder gives the names of the modes that were measured, in the order in which
// they are shown.
func (r *Result) ModeOrder() (list []string) {
	for _, mode := range modes {
		if _, ok := r.Modes[mode.String()]; ok {
			list = append(list, mode.String())
		}
	}
	return list
}

// AskedTotal gives the number of verdicts as the page writes it.
func (r *Result) AskedTotal() float64 { return float64(r.Asked) }
