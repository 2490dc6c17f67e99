package main

import (
	"bytes"
	"cmp"
	"fmt"

	"go.yaml.in/yaml/v3"

	"kessai/authz/rates"
	"kessai/configs"
	"kessai/gateway"
)

// samplePasswords are the passwords of the customers in configs/demo.yaml.
var samplePasswords = map[string]string{
	"1234567890": "aoi-1234", "2345678901": "aoi-2345", "4567890123": "aoi-4567",
}

// sampleTerminals are the terminals of the shop floor, by merchant.
var sampleTerminals = map[string]string{"AOI000000000001": "AOI00001", "VEND00000000001": "VEND0001"}

// floorAsks is how often a customer of the shop floor is asked in a few minutes: they
// try one thing after the other, and nobody but they themselves can bother them.
const floorAsks = 1000

// demoFloor gives what the shop floor shows, from the sample records.
func demoFloor() (*gateway.FloorOptions, error) {
	var sample struct {
		Merchants []struct{ ID, Name, Currency string }
		Terminals []struct{ ID, Operation string }
		Customers []struct{ ID, Name, Currency, Phone string }
		Items     []struct {
			Merchant, Code, Name string
			Price                int64
			Tax                  *int32
		}
	}
	if err := yaml.Unmarshal(configs.Demo, &sample); err != nil {
		return nil, fmt.Errorf("the sample records: %w", err)
	}
	vending := make(map[string]bool)
	for _, t := range sample.Terminals {
		vending[t.ID] = t.Operation == "vending"
	}
	table, err := rates.Read(bytes.NewReader(configs.Rates))
	if err != nil {
		return nil, fmt.Errorf("the sample exchange rates: %w", err)
	}
	floor := &gateway.FloorOptions{RatesOf: table.Date}
	for _, m := range sample.Merchants {
		shop := gateway.FloorShop{
			Merchant: m.ID, Name: m.Name, Currency: m.Currency, Terminal: sampleTerminals[m.ID],
			Key: sampleKeys[m.ID], Vending: vending[sampleTerminals[m.ID]],
		}
		for _, it := range sample.Items {
			if it.Merchant == m.ID {
				unknown := int32(-1)
				shop.Items = append(shop.Items, gateway.FloorItem{Code: it.Code, Name: it.Name, Price: it.Price, Tax: *cmp.Or(it.Tax, &unknown)})
			}
		}
		floor.Shops = append(floor.Shops, shop)
	}
	for _, c := range sample.Customers {
		if password, ok := samplePasswords[c.ID]; ok {
			floor.Customers = append(floor.Customers, gateway.FloorCustomer{ID: c.ID, Name: c.Name, Phone: c.Phone, Password: password, Currency: c.Currency})
		}
	}
	return floor, nil
}
