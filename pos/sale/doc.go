// Package sale is a sale as the customer sees it and signs it: who sells what to
// whom, when and for how much.
//
// What it is for: the one encoding of a sale in bytes ([Sale.Encode]), which
// docs/SALE-DIGEST.md describes byte by byte, and its digest ([Sale.Digest]),
// which a customer's proof is bound to. The customer's phone makes the same bytes
// from the same sale (gateway/web/phone/sale.js). Since what is signed must be what
// is seen, texts that can look like something else are refused ([CheckText]).
// What it is not for: deciding about payments (authz), and checking proofs
// (customers/phones). Start reading with [Sale].
package sale
