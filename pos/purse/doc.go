// Package purse is what a medium that carries e-money says and hears: its state,
// the order to write it, and the keys that both are authenticated with.
//
// What it is for: reading and making these records, byte by byte as
// docs/PURSE.md describes them, and the one rule by which a medium takes an
// order ([Key.Write]). What it is not for: deciding whether money may move (authz
// and authz/ledger), carrying records (gateway), and being a medium, with its
// memory and its accidents (pos/sim). Start reading with [State] and [Order].
package purse
