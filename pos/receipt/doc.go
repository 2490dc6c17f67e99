// Package receipt writes receipts: for a printer with 32 or 42 columns
// ([Receipt.Text]) and as a page of its own ([Receipt.HTML]), with a QR code that
// the receipt is checked by.
//
// What it is for: laying out one sale and what came of it in English, Japanese,
// German and Arabic. What it is not for: knowing what came of a sale (authz), and
// making or checking the link behind the QR code (customers/phones). A receipt
// names the customer and the card only behind a mask. Start reading with [Receipt].
package receipt
