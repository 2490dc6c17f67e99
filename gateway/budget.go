package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"kessai/authz"
)

// Budget says how long each stage of the hot path should take: half of all
// messages at most P50, 99 of 100 at most P99. Zero stands for no budget.
type Budget struct {
	P50, P99 [authz.NumStages]time.Duration
}

// maxBudget is the largest budget file, in bytes.
const maxBudget = 64 << 10

// ParseBudget reads a budget in the form of configs/budget.yaml: every stage
// with its p50 and its p99. What is missing, twice there, unknown or impossible
// is refused, with the line and the stage; no error repeats what the file holds.
func ParseBudget(text []byte) (Budget, error) {
	root, err := budgetRoot(text)
	if err != nil {
		return Budget{}, err
	}
	var b Budget
	err = eachMember(root, "the stages", func(name, value *yaml.Node) error {
		s, ok := stageNamed(name.Value)
		if !ok {
			return fmt.Errorf("line %d: there is no such stage; the stages are %s", name.Line, stageNames(func(authz.Stage) bool { return true }))
		}
		if err := b.read(s, value); err != nil {
			return fmt.Errorf("line %d: stage %s: %w", name.Line, s, err)
		}
		return nil
	})
	if err != nil {
		return Budget{}, err
	}
	if none := stageNames(func(s authz.Stage) bool { return b.P99[s] == 0 }); none != "" {
		return Budget{}, fmt.Errorf("these stages have no budget: %s; give each its p50 and p99", none)
	}
	return b, nil
}

// budgetRoot gives what the file's only document holds.
func budgetRoot(text []byte) (*yaml.Node, error) {
	if len(text) > maxBudget {
		return nil, fmt.Errorf("it is larger than %d KiB", maxBudget>>10)
	}
	var doc, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); err == io.EOF || err == nil && len(doc.Content) == 0 {
		return nil, errors.New("it is empty; configs/budget.yaml shows what belongs into it")
	} else if err != nil {
		return nil, badYAML(err)
	}
	if err := d.Decode(&next); err == nil {
		return nil, fmt.Errorf("line %d: a second document begins; there must be one", next.Line)
	} else if err != io.EOF {
		return nil, badYAML(err)
	}
	return doc.Content[0], nil
}

// badYAML leaves out what the library quotes of the file.
func badYAML(err error) error {
	var line int
	if _, scan := fmt.Sscanf(err.Error(), "yaml: line %d:", &line); scan != nil {
		return errors.New("it is no valid YAML")
	}
	return fmt.Errorf("line %d: it is no valid YAML", line)
}

// read reads the two members of one stage.
func (b *Budget) read(s authz.Stage, value *yaml.Node) error {
	err := eachMember(value, "p50 and p99", func(name, value *yaml.Node) error {
		into := map[string]*time.Duration{"p50": &b.P50[s], "p99": &b.P99[s]}[name.Value]
		if into == nil {
			return fmt.Errorf("line %d: a stage has p50 and p99, and nothing else", name.Line)
		}
		d, err := time.ParseDuration(value.Value)
		if value.Kind != yaml.ScalarNode || err != nil {
			return fmt.Errorf("line %d: %s is no duration, such as 500ns, 20µs or 5ms", value.Line, name.Value)
		}
		if d <= 0 {
			return fmt.Errorf("line %d: %s must be more than zero", value.Line, name.Value)
		}
		*into = d
		return nil
	})
	switch {
	case err != nil:
		return err
	case b.P50[s] == 0:
		return errors.New("p50 is missing")
	case b.P99[s] == 0:
		return errors.New("p99 is missing")
	case b.P50[s] > b.P99[s]:
		return fmt.Errorf("p50 is %v, more than p99, which is %v", b.P50[s], b.P99[s])
	}
	return nil
}

// eachMember calls f for each member of a mapping. A name that comes twice is an
// error: YAML itself would let the last one win.
func eachMember(n *yaml.Node, of string, f func(name, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s must stand here, one a line, each with a colon", n.Line, of)
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if before := seen[name.Value]; before != 0 {
			return fmt.Errorf("line %d: stands in line %d already", name.Line, before)
		}
		seen[name.Value] = name.Line
		if err := f(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func stageNamed(name string) (authz.Stage, bool) {
	for s := range authz.NumStages {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

func stageNames(of func(authz.Stage) bool) string {
	var names []string
	for s := range authz.NumStages {
		if of(s) {
			names = append(names, s.String())
		}
	}
	return strings.Join(names, ", ")
}

// budgetCollector shows the budget beside the stages' histograms, so that a
// dashboard can draw both without knowing the file. The label is not named
// quantile: Prometheus keeps that name for summaries.
type budgetCollector Budget

var budgetDesc = prometheus.NewDesc("kessai_stage_budget_seconds",
	"Time that a stage should take at most, by percentile of the messages.", []string{"stage", "percentile"}, nil)

func (budgetCollector) Describe(ch chan<- *prometheus.Desc) { ch <- budgetDesc }

func (c budgetCollector) Collect(ch chan<- prometheus.Metric) {
	for s := range authz.NumStages {
		if c.P99[s] == 0 {
			continue
		}
		ch <- prometheus.MustNewConstMetric(budgetDesc, gauge, c.P50[s].Seconds(), s.String(), "50")
		ch <- prometheus.MustNewConstMetric(budgetDesc, gauge, c.P99[s].Seconds(), s.String(), "99")
	}
}
