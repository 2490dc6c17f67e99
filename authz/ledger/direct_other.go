//go:build !linux

package ledger

const directIO = 0
