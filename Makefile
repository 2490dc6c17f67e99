# make test   every test there is, at most 15 minutes on two cores
# make soak   the same tests, longer, and minutes of fuzzing for each target
# make fuzz   every fuzz target for FUZZTIME, one after the other
# make bench  every benchmark COUNT times, into bench.txt
# make bench-compare BASE=REV   the benchmarks that BENCH names, here and at a
#             revision of git (the last commit, unless told otherwise), in turn
# make bench-deps   install what is measured beside Kessai: PostgreSQL
# make fmt    format the Go code

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: test soak fuzz bench bench-compare bench-deps fmt lint tools

FUZZTIME ?= 1m
# Without it the tests of web pages are skipped: plain go test needs no browser.
export KESSAI_BROWSER := 1
BROWSER  := gateway/web/browser

# The race detector runs over everything once. Allocations cannot be counted
# under it (Alloc in the names), and a thousand damaged books take too long
# (Flipped), as do sixty thousand torn writes (Torn): these run once more without
# it, in full; so do the ten thousand payments that are searched for secrets (Seen).
test: tools lint
	go test -race -timeout 30m ./...
	go test -timeout 20m -run 'Alloc|Flipped|Damage|Torn|NothingIsSeen' ./...

soak: export KESSAI_SOAK = 1
soak: tools lint
	go test -race -timeout 4h ./...
	go test -timeout 4h ./...
	$(MAKE) fuzz FUZZTIME=5m

lint:
	@unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

fmt:
	gofmt -w .

# A fuzz run takes one target of one package at a time. A failing one does not
# keep the others from their turn; what it found is under testdata/fuzz.
fuzz:
	@failed=()
	for package in $$(go list ./...); do
		listed=$$(go test -list '^Fuzz' $$package)
		for target in $$(grep '^Fuzz' <<<"$$listed" || true); do
			echo "== $$package $$target"
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package || failed+=($$package/$$target)
		done
	done
	if [ $${#failed[@]} -gt 0 ]; then echo "failed: $${failed[*]}"; exit 1; fi

COUNT ?= 6

bench:
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bench.txt

BASE      ?= HEAD
BENCH     ?= ^Benchmark(Decode|Mapping|Judge|Decide|Commit|Encode|Reply)
BENCHTIME ?= 100ms

# Old and new run in turn, a round each, so that what else happens on the machine
# meets both. What only one of the two has is shown with its own column alone.
bench-compare:
	@base=$$(git rev-parse --verify --quiet '$(BASE)^{commit}') || { echo "there is no revision $(BASE): give one that git knows, as in make bench-compare BASE=HEAD~1"; exit 1; }
	here=$$PWD
	tmp=$$(mktemp -d)
	trap 'git -C "$$here" worktree remove --force "$$tmp/base" 2>/dev/null || true; rm -rf "$$tmp"; git -C "$$here" worktree prune' EXIT
	trap 'exit 130' INT TERM
	git worktree add --quiet --detach "$$tmp/base" "$$base"
	mkdir "$$tmp/old" "$$tmp/new"
	compile() { # the module's folder, a folder for the binaries
		local dir
		{ grep -rl --include='*_test.go' --exclude-dir=testdata --exclude-dir=node_modules '^func Benchmark' "$$1" || true; } |
			xargs -r -n1 dirname | sort -u | while read -r dir; do
			dir=$${dir#"$$1"}
			(cd "$$1$$dir" && go test -c -o "$$2/$$(tr / % <<<"kessai$$dir").test" .)
		done
	}
	run() { # the module's folder, the folder of the binaries
		local dir binary
		touch "$$2.txt"
		for binary in "$$2"/*.test; do
			[ -e "$$binary" ] || continue
			dir=$$(basename "$$binary" .test | tr % /)
			(cd "$$1$${dir#kessai}" && "$$binary" -test.run '^$$' -test.bench '$(BENCH)' -test.benchmem -test.benchtime $(BENCHTIME)) >>"$$2.txt" || { tail -n 20 "$$2.txt"; exit 1; }
		done
	}
	compile "$$tmp/base" "$$tmp/old"
	compile "$$here" "$$tmp/new"
	for round in $$(seq $(COUNT)); do
		echo "round $$round of $(COUNT)" >&2
		run "$$tmp/base" "$$tmp/old"
		run "$$here" "$$tmp/new"
	done
	cd "$$here" && go tool benchstat "$(BASE)=$$tmp/old.txt" "here=$$tmp/new.txt"

bench-deps:
	@missing=()
	command -v pgbench >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql postgresql-contrib)
	$(install)

# install installs the Debian packages in the array missing, if any.
define install
	if [ $${#missing[@]} -gt 0 ]; then
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
		echo "installing $${missing[*]}"
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null
	fi
endef

# The race detector needs a C compiler, the tests of what the demo prints need
# curl, and those of web pages a browser and Node.js.
tools:
	@missing=()
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	command -v curl >/dev/null || missing+=(curl)
	command -v chromium >/dev/null || missing+=(chromium)
	command -v npm >/dev/null || missing+=(nodejs npm)
	$(install)
	if [ -f $(BROWSER)/package-lock.json ] && [ ! $(BROWSER)/node_modules/.package-lock.json -nt $(BROWSER)/package-lock.json ]; then
		npm ci --prefix $(BROWSER) --no-audit --no-fund
	fi
