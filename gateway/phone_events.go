package gateway

import "github.com/gofiber/fiber/v2"

// events tells an open phone at once what waits for its customer and what has
// ended. The events are called sales and ended; their data is the payment's number,
// empty where the phone is to look at everything again.
func (p *phoneSide) events(c *fiber.Ctx, who phoneUser) error {
	if p.h.draining.Load() {
		return &problem{code: problemDraining}
	}
	leave, fault := p.h.await(p.h.phonesWait, string(who.Customer))
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
				ok = p.stays(who) && s.send(name, `{"id":"`+id+`"}`)
			case <-s.Beat:
				ok = p.stays(who) && s.beat()
			case <-s.Over:
				return
			case <-s.Ended:
				return
			}
		}
	})
}

// stays reports whether a phone is signed in as it was: nobody signed it out, in
// anew, or revoked it. That it looks on does not keep its session alive.
func (p *phoneSide) stays(who phoneUser) bool {
	devices, err := p.o.Store.Devices(who.Customer)
	if err != nil {
		return false
	}
	for _, d := range devices {
		if d.ID == who.Device.ID {
			return d.Session != nil && d.Session.Hash == who.Device.Session.Hash
		}
	}
	return false
}
