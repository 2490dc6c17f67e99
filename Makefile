# make test   every test there is, at most 15 minutes on two cores
# make soak   the same tests, longer, and minutes of fuzzing for each target
# make fuzz   every fuzz target for FUZZTIME, one after the other
# make bench  every benchmark; compare two runs with golang.org/x/perf/benchstat
# make fmt    format the Go code

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: test soak fuzz bench fmt lint tools

FUZZTIME ?= 1m
# Without it the tests of web pages are skipped: plain go test needs no browser.
export KESSAI_BROWSER := 1
BROWSER  := gateway/web/browser

# The race detector runs over everything once. Allocations cannot be counted
# under it (Alloc in the names), and a thousand damaged books take too long
# (Flipped): these run once more without it, in full.
test: tools lint
	go test -race -timeout 12m ./...
	go test -timeout 8m -run 'Alloc|Flipped|Damage' ./...

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

bench:
	go test -run '^$$' -bench . -benchmem -count 6 ./... | tee bench.txt

# The race detector needs a C compiler, the tests of what the demo prints need
# curl, and those of web pages a browser and Node.js.
tools:
	@missing=()
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	command -v curl >/dev/null || missing+=(curl)
	command -v chromium >/dev/null || missing+=(chromium)
	command -v npm >/dev/null || missing+=(nodejs npm)
	if [ $${#missing[@]} -gt 0 ]; then
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
		echo "installing $${missing[*]}"
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null
	fi
	if [ -f $(BROWSER)/package-lock.json ] && [ ! $(BROWSER)/node_modules/.package-lock.json -nt $(BROWSER)/package-lock.json ]; then
		npm ci --prefix $(BROWSER) --no-audit --no-fund
	fi
