# `make run`: the whole loop on this machine. `make test`: the test suite. Both are safe to repeat.
PYTHON ?= python3
PROFILE ?= local
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Images often set it; the loop starts dozens of processes, each of which would then compile its libraries for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install run test lint stop clean base faults bench audit teacher docs

help: ## Say what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Zava needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Say PYTHON=/path/to/python3.11.") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[auth,aws,azure,local,postgres,test]'
	@touch $(STAMP)

install: $(STAMP) ## Make .venv and install, if anything changed

run: install ## Run the whole loop with the profile PROFILE (default: local)
	$(BIN)/zava run --profile $(PROFILE)

test: install ## Run the test suite, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

base: install ## Make the small base model again, from nothing (about two hours on two idle cores)
	$(BIN)/python -m infra.model_server.base.pretrain --out .zava/base/zava-base --tokens 36e6

faults: install ## Break the provider at random in 1,000 runs and kill workers at five moments; no job may be lost or paid twice
	ZAVA_FAULT_RUNS=1000 $(BIN)/python -m pytest -q -s tests/tasks/test_exactly_once.py tests/flows/test_interruption.py

bench: install ## Run the benchmarks
	@for bench in tests/bench/bench_*.py; do $(BIN)/python -m tests.bench.$$(basename $$bench .py) || exit 1; done

audit: install ## Ask PyPI whether pinned versions are known to be vulnerable
	$(BIN)/python -m infra.audit constraints.txt

teacher: install ## Let the champion of the last `make run` hold 24 conversations as the teacher's agent; its server must run
	$(BIN)/python -m tests.bench.own_teacher

docs: install ## Build the pages of docs/ into site/, strictly
	$(BIN)/properdocs build

stop: ## End the services
	@test ! -x $(BIN)/zava || $(BIN)/zava down

clean: stop ## Remove the workspace (datasets, runs, models), keep .venv
	rm -rf .zava
