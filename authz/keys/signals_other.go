//go:build !linux

package keys

// undisturbed runs f and then overwrites the stack below. Holding signals back, which
// would put registers elsewhere, is done on Linux only.
func undisturbed(f func()) {
	f()
	overwrite()
	overwriteRegisters(256)
}
