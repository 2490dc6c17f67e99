package ledger

import "syscall"

const directIO = syscall.O_DIRECT
