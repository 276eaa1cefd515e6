# hepmorph: make help
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FLAGS    = -trimpath -ldflags '-s -w -buildid= -X main.release=$(VERSION)'
export CGO_ENABLED = 0

.PHONY: help build test demo demo-calo bench bench-peer check measure

help:            ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build:           ## bin/hepmorph, one static binary
	$(GO) build $(FLAGS) -o bin/hepmorph ./cmd/hepmorph

test:            ## all tests that need nothing but Go, in minutes
	$(GO) test ./...

demo: build      ## the main job end to end on built-in samples, then look at runs/demo/report/report.html
	bin/hepmorph demo --out runs/demo --force

demo-calo: build ## showers end to end: train, distill, generate, verify, validate, every check beside what is asked for
	bin/hepmorph calo demo --out runs/demo-calo --force

bench:           ## Go benchmarks of every hot path, in the format that benchstat reads
	$(GO) test -run '^$$' -bench . -benchmem ./internal/kernel ./internal/ad ./flows ./calo ./internal/gbdt ./validation/metric ./physics/... ./samples/...

bench-peer:      ## flows and transformers against PyTorch (installs 5 GB into .venv), writes docs/benchmarks.md
	$(GO) run ./internal/peer

check:           ## vet, race detector, short fuzzing
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -short ./internal/ad ./internal/par ./internal/train ./internal/gbdt ./flows ./morph ./mdmm ./physics/... ./validation/... ./samples/...
	.ci/fuzz 5s

measure: build   ## the long fidelity bars, judged from outside (an hour or more), writes docs/results.md
	$$(.ci/venv) internal/peer/measure.py
