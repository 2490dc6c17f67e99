package conversations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"kessai"
	"kessai/pos/purse"
	"kessai/pos/sim"
)

// purseMost is what a medium may carry at the gateway of these tests, in JPY.
const purseMost = 20_000

// purses is the master key of that gateway.
var purses = func() *purse.Master {
	m, err := purse.NewMaster(bytes.Repeat([]byte{8}, purse.MinMasterBytes))
	if err != nil {
		panic(err)
	}
	return m
}()

// purseOverJSON asks about e-money over JSON.
type purseOverJSON struct {
	address, key, terminal string
	next                   func() uint32 // idempotency keys
}

func (p purseOverJSON) wire() sim.PurseWire {
	return sim.PurseWire{
		Ask: func(ctx context.Context, kind kessai.Kind, amount int64, state *purse.State) (sim.PurseAnswer, error) {
			body := map[string]any{"kind": kind.String(), "terminal": p.terminal, "purse": state.Hex()}
			if amount != 0 {
				body["amount"] = map[string]any{"value": amount, "currency": "JPY"}
			}
			return p.post(ctx, "/v1/payments", body)
		},
		Confirm: func(ctx context.Context, _ kessai.Kind, of kessai.TxID, state *purse.State) (sim.PurseAnswer, error) {
			return p.post(ctx, "/v1/payments/"+of.String()+"/confirm", map[string]any{"terminal": p.terminal, "purse": state.Hex()})
		},
	}
}

func (p purseOverJSON) post(ctx context.Context, path string, body map[string]any) (a sim.PurseAnswer, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+path, bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", fmt.Sprintf("purse-%d", p.next()))
	res, err := purseClient.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	var got struct {
		ID           string
		ResponseCode string `json:"response_code"`
		Amount       struct{ Value int64 }
		PurseOrder   string `json:"purse_order"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || res.StatusCode != http.StatusCreated {
		return a, fmt.Errorf("answered with status %d: %s", res.StatusCode, answer)
	}
	a.Code, a.Amount = got.ResponseCode, got.Amount.Value
	a.ID, _ = kessai.ParseTxID(got.ID)
	if got.PurseOrder != "" {
		o, err := purse.ParseOrderHex(got.PurseOrder)
		if err != nil {
			return a, err
		}
		a.Order = &o
	}
	return a, nil
}
