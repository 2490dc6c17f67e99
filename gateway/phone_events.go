package gateway

import (
	"github.com/gofiber/fiber/v2"
)

// events tells an open phone at once what waits for its customer and what has
// ended. The events are called sales and ended; their data is the payment's number,
// empty where the phone is to look at everything again.
func (p *phoneSide) events(c *fiber.Ctx) error {
	if p.h.draining.Load() {
		return &problem{code: problemDraining}
	}
	who, fault := p.user(c)
	if fault != nil {
		return fault
	}
	leave, fault := p.h.await()
	if fault != nil {
		return fault
	}
	engine := p.h.o.Engine
	phone, err := engine.Subscribe(who.account)
	if err != nil {
		leave()
		return &problem{code: problemTooMany, detail: "As many phones of this customer as are allowed are open."}
	}
	return p.h.stream(c, func() { engine.Unsubscribe(phone); leave() }, func(s *events) {
		for ok := true; ok; {
			select {
			case e := <-phone.Events:
				name, id := "sales", ""
				if e.ID != 0 {
					id = e.ID.String()
				}
				if e.Ended {
					name = "ended"
				}
				ok = s.send(name, `{"id":"`+id+`"}`)
			case <-s.Beat:
				ok = s.beat()
			case <-s.Over:
				return
			case <-s.Ended:
				return
			}
		}
	})
}
