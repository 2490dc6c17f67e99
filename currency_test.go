package kessai_test

import (
	"fmt"
	"testing"

	"github.com/Rhymond/go-money"

	"kessai"
)

// Where the table and go-money 1.0.15 differ, and why the table is right.
// go-money keeps what was once in use; the table keeps what is.
var notInGoMoney = map[string]string{
	"VED": "digital bolivar, since 2021",
	"ZWG": "Zimbabwe gold, since 2024",
}

var onlyInGoMoney = map[string]string{
	"ANG": "became XCG in 2025, which took its number",
	"BGN": "Bulgaria has the euro since 2026",
	"BYR": "became BYN in 2016",
	"CLF": "a unit of account, not money to pay with",
	"CUC": "ended in 2021",
	"EEK": "Estonia has the euro since 2011",
	"GGP": "Guernsey's pound has no code of its own in ISO 4217",
	"GHC": "became GHS in 2007",
	"HRK": "Croatia has the euro since 2023",
	"IMP": "Man's pound has no code of its own in ISO 4217",
	"JEP": "Jersey's pound has no code of its own in ISO 4217",
	"LTL": "Lithuania has the euro since 2015",
	"LVL": "Latvia has the euro since 2014",
	"RUR": "became RUB in 1998",
	"SKK": "Slovakia has the euro since 2009",
	"SLL": "became SLE in 2022",
	"STD": "became STN in 2018",
	"TRL": "became TRY in 2005",
	"VEF": "became VES in 2018",
	"XAG": "silver",
	"XAU": "gold",
	"XDR": "drawing rights of the International Monetary Fund",
	"ZWD": "ended in 2008",
	"ZWL": "became ZWG in 2024",
}

func TestCurrencyTableAgreesWithGoMoney(t *testing.T) {
	known := 0
	for n := range kessai.Currency(1000) {
		if !n.Known() {
			continue
		}
		known++
		alpha := n.String()
		other := money.GetCurrency(alpha)
		if _, ok := notInGoMoney[alpha]; ok != (other == nil) {
			t.Errorf("%s: go-money has it: %v; the list of differences says the opposite", alpha, other != nil)
		}
		if other != nil && (other.Fraction != n.Exponent() || other.NumericCode != fmt.Sprintf("%03d", uint16(n))) {
			t.Errorf("%s is number %03d with %d decimals here, %s with %d in go-money", alpha, uint16(n), n.Exponent(), other.NumericCode, other.Fraction)
		}
	}
	if known != 155 {
		t.Errorf("the table has %d currencies; want 155", known)
	}
	for i := range 26 * 26 * 26 {
		alpha := string([]byte{'A' + byte(i/676), 'A' + byte(i/26%26), 'A' + byte(i%26)})
		_, here := kessai.ParseCurrency(alpha)
		_, explained := onlyInGoMoney[alpha]
		if there := money.GetCurrency(alpha) != nil; there && !here != explained || !there && explained {
			t.Errorf("%s: in the table %v, in go-money %v, explained %v", alpha, here, there, explained)
		}
	}
}

func TestParseCurrency(t *testing.T) {
	for text, want := range map[string]kessai.Currency{"JPY": kessai.JPY, "392": kessai.JPY, "EUR": 978, "008": 8, "ALL": 8} {
		if got, ok := kessai.ParseCurrency(text); !ok || got != want {
			t.Errorf("ParseCurrency(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "jpy", "JP", "JPYX", "000", "999", "8", "0392", "+92", "XXX", "XAU"} {
		if got, ok := kessai.ParseCurrency(text); ok {
			t.Errorf("ParseCurrency(%q) = %d", text, got)
		}
	}
	if got := kessai.Currency(7).String(); got != "007" {
		t.Errorf("an unknown currency prints as %q", got)
	}
}

func TestAmountString(t *testing.T) {
	const kwd = kessai.Currency(414)
	for want, a := range map[string]kessai.Amount{
		"450 JPY":                   {Value: 450, Currency: kessai.JPY},
		"-450 JPY":                  {Value: -450, Currency: kessai.JPY},
		"4.50 EUR":                  {Value: 450, Currency: kessai.EUR},
		"0.05 EUR":                  {Value: 5, Currency: kessai.EUR},
		"-0.05 EUR":                 {Value: -5, Currency: kessai.EUR},
		"0.00 USD":                  {Currency: kessai.USD},
		"1.234 KWD":                 {Value: 1234, Currency: kwd},
		"-92233720368547758.08 EUR": {Value: -1 << 63, Currency: kessai.EUR},
		"5 999":                     {Value: 5, Currency: 999},
	} {
		if got := a.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAddRefusesOverflow(t *testing.T) {
	const most, least = 1<<63 - 1, -1 << 63
	for _, c := range []struct {
		a, b, sum int64
		ok        bool
	}{
		{1, 2, 3, true}, {most, 0, most, true}, {most - 1, 1, most, true}, {least + 1, -1, least, true}, {most, least, -1, true},
		{most, 1, 0, false}, {1, most, 0, false}, {least, -1, 0, false}, {least, least, 0, false},
	} {
		sum, err := kessai.Add(c.a, c.b)
		if sum != c.sum || (err == nil) != c.ok {
			t.Errorf("Add(%d, %d) = %d, %v", c.a, c.b, sum, err)
		}
	}
}
