package cache

import (
	"math"
	"slices"
)

// with gives the same media with changes; t stays as it is. Of a part that is
// changed, what is fresh is copied, and now and then all of it.
func (t *table) with(changes []MediumChange) *table {
	if len(changes) == 0 {
		return t
	}
	if t == nil {
		t = newTableBuilder(0).table()
	}
	var count [parts]int // of changes of each part; below zero once its copy is made
	for i := range changes {
		count[changes[i].ID[0]]++
	}
	n := *t
	for i := range changes {
		c := &changes[i]
		first := c.ID[0]
		p := &n.parts[first]
		if count[first] > 0 {
			p.own(first, count[first])
			count[first] = -1
		}
		n.put(p, c)
	}
	return &n
}

// put writes a change into a part that is the table's own.
func (t *table) put(p *part, c *MediumChange) {
	if t.status(&c.ID) != MediumUnknown {
		t.size--
	}
	facts := c.Facts
	if facts.Status != MediumUnknown {
		t.size++
	} else {
		facts = Medium{} // and stays, as one that is not known
	}
	account := facts.Account
	facts.Account = 0
	var profile uint32
	profile, t.profiles = t.all.of(facts)
	to := p.fresh
	if to == nil {
		to = &p.base
	}
	to.put(&c.ID, account, profile)
}

// own makes copies of what a number of changes will be written to: what is fresh,
// or, where that would be too much, all together.
func (p *part) own(first byte, changes int) {
	var fresh hashed
	if p.fresh != nil {
		fresh = *p.fresh
	}
	if total := fresh.count + changes; total <= maxFresh(&p.base) {
		next := fresh.clone()
		if linesFor(total) > len(fresh.lines) {
			// Twice the room, so that not each change has to place all anew.
			next = newHashed(2 * total)
			next.putAll(first, &fresh)
		}
		p.fresh = &next
		return
	}
	p.base = p.base.clone()
	p.base.putAll(first, &fresh)
	p.fresh = nil
}

// maxFresh gives how many changes a part gathers before they are written into a
// copy of all of it. Copying what is fresh for each change, and all of it for one
// in so many, then costs about the same.
func maxFresh(base *hashed) int { return max(32, int(math.Sqrt(float64(base.count)))) }

func (p *hashed) clone() hashed {
	c := hashed{lines: newLines(len(p.lines)), high: slices.Clone(p.high), count: p.count}
	copy(c.lines, p.lines)
	return c
}
