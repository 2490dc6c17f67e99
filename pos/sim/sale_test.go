package sim_test

import (
	"testing"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

const (
	who = `"7":"1122033912","11":"000123"`
	at  = `"12":"123912","13":"1122"`
)

func TestMessages(t *testing.T) {
	s := sale(123)
	var err error
	if s.PAN, err = kessai.ParsePAN("4242424242424242"); err != nil {
		t.Fatal(err)
	}
	s.Expiry = "2912"
	buy := s.Purchase()
	answer := &iso8583.Message{}
	answer.SetString(37, "000000000042")
	answer.SetString(38, "123456")
	bare := sale(123)
	bare.Acquirer = "392001"
	const (
		card = `"2":"4242424242424242","3":"`
		shop = `"41":"AOI00001","42":"AOI000000000001"`
		tail = `,` + at + `,"14":"2912",` + shop
		yen  = `,"4":"000000000450",` + who + tail + `,"49":"392"`
		free = `,"4":"000000000000",` + who + tail + `,"49":"392"`
		de90 = `,"90":"020000012311220339120000000000000000000000"`
	)
	tests := []struct {
		name, want string
		m          *iso8583.Message
	}{
		{"purchase", `{"mti":"0200",` + card + `000000"` + yen + `}`, buy},
		{"repeat", `{"mti":"0201",` + card + `000000"` + yen + `}`, sim.Repeat(buy)},
		{"cash back", `{"mti":"0200",` + card + `090000"` + yen + `,"54":"0040392D000000000100"}`, s.CashBack(100)},
		{"refund", `{"mti":"0200",` + card + `200000"` + yen + `}`, s.Refund(sim.Original{})},
		{"refund of", `{"mti":"0200",` + card + `200000"` + yen + de90 + `}`, s.Refund(sim.ByRequest(sim.Repeat(buy)))},
		{"balance", `{"mti":"0100",` + card + `310000",` + who + tail + `}`, s.Balance()},
		{"verify", `{"mti":"0100",` + card + `000000"` + free + `}`, s.Verify()},
		{"opening", `{"mti":"0100",` + card + `330000",` + who + tail + `}`, s.Open()},
		{"a card that was kept", `{"mti":"0120",` + card + `330000",` + who + `,` + at + `,"14":"2912","39":"43",` + shop + `}`, s.Kept("43")},
		{"pre-authorization", `{"mti":"0100",` + card + `000000"` + yen + `}`, s.PreAuth()},
		{"release", `{"mti":"0220",` + card + `000000"` + free + de90 + `}`, s.Release(sim.ByRequest(buy))},
		{"reversal", `{"mti":"0400",` + card + `000000"` + yen + de90 + `}`, s.Reverse(sim.ByRequest(buy), 0)},
		{"partial reversal", `{"mti":"0400",` + card + `000000"` + yen + de90 + `,"95":"000000000150000000000000D00000000D00000000"}`, s.Reverse(sim.ByRequest(buy), 150)},
		{"increment", `{"mti":"0100","3":"000000","4":"000000000450",` + who + `,` + at + `,"32":"392001","37":"000000000042","38":"123456",` + shop + `,"49":"392"}`, bare.Increment(sim.ByReply(answer))},
		{"completion", `{"mti":"0220","3":"000000","4":"000000000450",` + who + `,` + at + `,"32":"392001",` + shop + `,"49":"392","90":"020000012311220339120000039200100000000000"}`, bare.Complete(sim.ByRequest(bare.Purchase()))},
		{"sign-on", `{"mti":"0800",` + who + `,"41":"AOI00001","70":"001"}`, s.SignOn()},
		{"sign-off", `{"mti":"0800",` + who + `,"41":"AOI00001","70":"002"}`, s.SignOff()},
		{"echo", `{"mti":"0800",` + who + `,"41":"AOI00001","70":"301"}`, s.Echo()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, d := range iso8583.BuiltIn() {
				if _, err := d.Append(nil, test.m); err != nil {
					t.Errorf("%s cannot be written: %v", d.Name(), err)
				}
				if got := string(d.AppendJSON(nil, test.m)); got != test.want {
					t.Errorf("%s\n got %s\nwant %s", d.Name(), got, test.want)
				}
			}
		})
	}
}

func TestDialogueNumberGoesBack(t *testing.T) {
	answer := &iso8583.Message{}
	if got := sim.Dialogue(answer); got != "" {
		t.Errorf("an answer without DE48 opens dialogue %q", got)
	}
	answer.SetString(48, "DI0040a1b")
	s := sale(123)
	s.Dialogue = sim.Dialogue(answer)
	if got := string(s.Purchase().Get(48)); got != "DI0040a1b" {
		t.Errorf("DE48 is %q", got)
	}
}
