# Everything runs in a virtual environment that `make venv` makes; `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
PEERS := .venv-bench
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
RUN := $(VENV)/bin/python -m
TASK ?=
INPUT ?=
OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo serve test lint unit bench-offline-store bench-serving bench-features bench-training test-parity soak clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-20s %s\n", $$1, $$2}'

venv: $(VENV)/.complete ## make the virtual environment with pinned dependencies

$(VENV)/.complete: constraints.txt $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements/dev.txt -c constraints.txt
	$(PIP) install --no-deps -r requirements/sample.txt
	touch $@

demo: venv ## run the whole loop; TASK=file INPUT=file for your own texts
	$(RUN) demo $(if $(TASK),--task $(TASK)) $(if $(INPUT),--input $(INPUT))

serve: venv ## run the three services until Ctrl-C
	$(RUN) deploy.embedded

test: lint unit ## types, lint, import contracts and all tests

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

unit: venv
	$(RUN) pytest

bench-offline-store: $(VENV)/.bench ## the offline store beside Feast's own and bare Polars; OPTIONS='--sizes 20000'
	$(RUN) benchmarks.offline_store $(OPTIONS)

$(VENV)/.bench: $(VENV)/.complete requirements/bench.txt
	$(PIP) install -r requirements/bench.txt -c constraints.txt
	touch $@

bench-serving: $(VENV)/.complete $(PEERS)/.complete ## this server beside bare onnxruntime and other servers; OPTIONS='--texts short'
	$(RUN) benchmarks.serving $(OPTIONS)

bench-features: $(VENV)/.complete ## backfill, stream and freshness, beside their ceilings; OPTIONS='--sizes 100000'
	$(RUN) benchmarks.features $(OPTIONS)

bench-training: $(VENV)/.bench ## the training loop beside Hugging Face's Trainer, and the time to a first step; OPTIONS='--repeats 1'
	$(RUN) benchmarks.training $(OPTIONS)

test-parity: $(VENV)/.complete ## stream = batch = online = historical over 100,000 values; OPTIONS='--values 1000000'
	$(RUN) tests.features.parity $(OPTIONS)

soak: $(VENV)/.complete ## ten minutes of mixed load, swaps and outages, and the slope of memory; OPTIONS='--minutes 60'
	$(RUN) benchmarks.soak $(OPTIONS)

# The peers' requirements contradict the pins. What serves the model is the same version in both.
$(PEERS)/.complete: constraints.txt requirements/bench-peers.txt
	$(PYTHON) -m venv $(PEERS)
	grep -E '^(fastapi|numpy|onnxruntime|tokenizers|uvicorn)==' constraints.txt > $(PEERS)/constraints.txt
	$(PEERS)/bin/python -m pip --disable-pip-version-check install -r requirements/bench-peers.txt -c $(PEERS)/constraints.txt
	touch $@

clean: ## remove the virtual environments and the embedded state
	rm -rf $(VENV) $(PEERS) .fti
