package conversations

import (
	"context"
	"fmt"
	"regexp"

	"kessai/merchants"
)

// dialogue gives the number of the dialogue that in= names: one that was opened
// under that name, or a number as it stands.
func (p *play) dialogue(w words) (string, error) {
	name, ok := w.named["in"]
	if !ok {
		return "", nil
	}
	u, ok := p.said[name]
	switch {
	case !ok && len(name) >= 8:
		return name, nil
	case !ok:
		return "", fmt.Errorf("nothing was called %s", name)
	case u.talk == "":
		return "", fmt.Errorf("%s opened no dialogue", name)
	}
	return u.talk, nil
}

var cardName = regexp.MustCompile(`@[a-z]+`)

// change puts one line of a feed into force. In it, @NAME stands for the number
// of a card.
func (p *play) change(line string) string {
	line = cardName.ReplaceAllStringFunc(line, func(name string) string { return cards[name[1:]].pan })
	c, err := merchants.ReadChange([]byte(line))
	if err == nil {
		_, err = p.house.registry.Apply(context.Background(), []merchants.Change{c})
	}
	if err != nil {
		return fmt.Sprintf("refused: %v\n", err)
	}
	return ""
}
