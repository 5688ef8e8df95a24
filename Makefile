# Everything runs in a virtual environment that `make venv` makes; `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
PEERS := .venv-bench
AUDIT := .venv-audit
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
RUN := $(VENV)/bin/python -m
TASK ?=
INPUT ?=
OPTIONS ?=
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# What a model's record says of the code that trained it; nothing where the code is that of no commit.
export SOURCE_COMMIT ?= $(shell git diff --quiet HEAD 2>/dev/null && git rev-parse HEAD)

.DEFAULT_GOAL := help
.PHONY: help venv demo serve env build up down backup restore logs smoke test lint unit test-stack audit sbom bench-offline-store bench-serving bench-features bench-training test-parity soak clean

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

env: ## make .env and the tokens of the stack, where there are none
	python3 deploy/stack/secret_files.py
	@# Containers read them as other users, whatever the umask was at the checkout.
	chmod -R a+rX deploy/postgres deploy/prometheus tasks

build: env ## build the images, without starting anything
	$(COMPOSE) build

up: build ## build and start the full stack (Docker), and wait until it is healthy
	$(COMPOSE) up --detach --wait

down: ## stop the stack; its data stay in volumes
	$(COMPOSE) down

backup: ## stop the stack, copy its volumes, settings and secrets into TO=folder, and start it again
	deploy/stack/backup save "$(TO)"

restore: ## bring back what was saved in FROM=folder, into a stack that has no volumes
	deploy/stack/backup bring-back "$(FROM)"

logs: ## follow the logs of the stack
	$(COMPOSE) logs --follow --tail 100

smoke: venv ## do against the running stack what a user does: predict, stream, retrain, look
	$(RUN) demo.stack

test-stack: venv ## the stack in a project of its own: smoke, then each container killed; under half an hour
	$(RUN) pytest tests/stack/check_stack.py --timeout 3600 -s

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

audit: $(AUDIT)/.complete ## known vulnerabilities of the pins, but those with a reason in deploy/accepted-vulnerabilities.txt
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
	  $$(awk '/^[A-Z]/ {print "--ignore-vuln", $$1}' deploy/accepted-vulnerabilities.txt)

sbom: $(AUDIT)/.complete ## what is in each image, as CycloneDX, into sbom/
	mkdir -p sbom
	for image in features training inference mlflow; do \
	  docker run --rm --entrypoint python fti/$$image -c \
	    'from importlib.metadata import distributions as d; print(*sorted({f"{p.name}=={p.version}" for p in d()}), sep="\n")' \
	    > sbom/$$image.txt \
	  && $(AUDIT)/bin/cyclonedx-py requirements --output-reproducible --output-file sbom/$$image.cdx.json sbom/$$image.txt \
	  || exit 1; \
	done

$(AUDIT)/.complete: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check install -r requirements/audit.txt
	touch $@

clean: ## remove the virtual environments and the embedded state
	rm -rf $(VENV) $(PEERS) $(AUDIT) .fti
