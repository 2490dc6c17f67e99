// Package conversations holds the gateway to its word, story by story: what
// terminals and shops say over both wires, and what each of them must hear, and
// when.
//
// What it is for: the whole gateway (stores, book, registry, engine, both wires)
// under virtual time, with everything real but the sockets, which are pipes.
// What it is not for: the form of messages (pos/iso8583), load, power cuts (the
// crash tests), or the command line (cmd/kessai).
//
// Start reading with a story in testdata, then come back here for the words. A
// story is a text file. What stands behind # says what it proves. A block is a
// few commands, a line of four hyphens, and what was heard. TestConversations
// plays every story and compares; with -update it writes down what was heard. A
// story that begins with "In every mode." is played with each of the cache's modes,
// and the same must be heard.
//
// # Who speaks
//
// Over ISO 8583, each with a connection of its own that is made on first use:
//
//	till      AOI00001, can handle the approval of a part
//	till2     AOI00002, a till with low limits
//	till3     AOI00003, a till that cannot handle a part
//	suspended AOI00009, taken out of service
//	machine   VEND0001, the vending machine of another merchant
//	stranger  NOBODY01, registered nowhere
//
// Over JSON, with the API key of a merchant: aoi (at terminal AOI00001) and vend
// (at VEND0001). The cards are suzuki, sato, third (100,000 JPY, no limits),
// stolen, lost, expired, unknown (registered nowhere) and mistyped.
//
// # What they say, over either wire
//
//	purchase 450 card=suzuki       cash-back 3450 cash=3000 card=suzuki
//	refund 150 card=suzuki         refund 150 of=coffee
//	balance card=suzuki            verify card=suzuki
//	pre-auth 5000 card=suzuki      increment 1000 of=room
//	complete 4000 of=room          release of=room
//	reverse of=coffee              reverse of=coffee leaving=300
//	repeat coffee                  the same again, as the wire repeats things
//
// And in two steps, which are one conversation: a dialogue.
//
//	open card=suzuki as=talk       says which card is in the terminal
//	purchase 450 in=talk           what the transaction is; the card is left out
//	close talk                     ends it without one (only over JSON)
//	retained card=stolen code=43   the terminal has kept the card
//
// And about the value that a card carries (docs/PURSE.md), which takes its chip:
//
//	load 500 purse=suzuki          unload 100 purse=suzuki
//	purse-pay 300 purse=suzuki     purse-balance purse=suzuki
//	confirm purse=suzuki of=top    reads the medium, and tells what it says
//
// These are whole contacts: read, ask, write, confirm. tear=MOMENT ends one early
// (order, received, half, written, answered, confirmed), and say=again, say=altered
// or say=NAME has the terminal send what the medium said before, something else
// than it said, or what another medium says.
//
// And about payments that customers confirm on their phones (docs/PHONE.md):
//
//	purchase 450 confirm=phone customer=suzuki items=2000000000015|1
//	purchase 450 confirm=claim items=A1|2|120|Water,B1|1 ref=one
//	pre-auth 170 confirm=claim     what a vending machine holds until it is claimed
//	wait coffee 60s                only over JSON; watch coffee listens to its events
//	cancel of=coffee               only over JSON
//
// An item is code|quantity|price|name; over ISO 8583, confirm=number is the form that
// shows a number at once. ref=NAME is the terminal's own name for the sale; one that
// begins with old-, early- or odd- is not right. The customers are suzuki, sato, euro
// (whose account is in EUR), third (who has no phone) and nobody, and this is what
// they do on their phones:
//
//	suzuki looks      opens      hears      counts
//	suzuki approves of=coffee      with=passkey; without of=, the first that waits
//	suzuki mistypes of=coffee      suzuki cancels of=coffee      suzuki claims of=drink
//	suzuki signs-in                suzuki mistypes-to-sign-in    suzuki is-unlocked
//
// Words behind these: as=NAME lets the transaction be spoken of later; of=NAME
// (or of=NUMBER) names the original, over ISO 8583 by=request (DE90, the rule) or
// by=rrn (DE37 with DE38); terminal=, merchant=, currency= and expiry= change what
// is said; stan= too, and over JSON it makes the shop name STAN and time at all.
// Over ISO 8583, mti=0120 changes the message type, field=49: takes a field away
// and field=49:978 puts one in; over JSON, key= is the idempotency key. A trailing
// & does not wait for the answer; "hear NAME" does.
//
// Only over ISO 8583: sign-on, echo, sign-off, hang-up, message {JSON} and frame
// HEX (whatever it is, sent as it is over a connection of its own). Only over
// JSON: show NAME, list, and get or post with a path and a body, in which $NAME
// stands for a payment's ID.
//
// # What happens around them
//
//	gateway hold=30s sign-on=required max-age=1m max-in-flight=2
//	gateway mode=filter dialogue=30s max-dialogues=2
//	             settings, for the next start
//	sleep 10s    stop    start    restart
//	crash        stops without closing anything, and goes on from what is on disk
//	unready      readiness drops, and new payments over JSON are refused
//	drain        no new work over either wire; stop waits for what is in flight
//	pause        requests over ISO 8583 wait before the engine; resume lets them go
//	import       and YAML below it: changes to the registry
//	change       and a line of a feed, in which @suzuki is a card's number
//	slow-registry 5s           a look-up in the registry takes so long
//	registry offline           look-ups fail; registry online: not any more
//	gateway phone=2m max-asked=3 max-waiting=100 item-prices=must-match rates=none
//	dialogues    how many are open
//	waiting      how many payments wait for their customers, and who waits for them
//	account customer/1234567890         a balance
//	medium suzuki                       what is on it
//	book         what the book holds
//	together     the lines below it all at once, "10 till purchase ..." ten times;
//	             only how often each answer was heard is written down
//
// The gateway starts by itself before the first words that need it. An answer
// shows the virtual time that it took. Where none comes in the 15 seconds that a
// terminal waits, it says (silence).
package conversations
