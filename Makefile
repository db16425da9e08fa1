# Everything that is done here, by name. `make help` lists it.
#
# A machine needs Python 3.11 or newer, make and git; all else comes from the locked requirements.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The first of these that is new enough; `make PYTHON=/path/to/python3.12 venv` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# More words for the command of a target: `make test ARGS="-k dialog"`.
ARGS ?=

# --- set-up --------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.run ## Build or update .venv from the locked requirements

.PHONY: test-venv
test-venv: $(VENV)/.dev ## The same with the test tools

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; name it: make PYTHON=/path/to/python3 venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are written last, so that an interrupted installation is made again.
$(VENV)/.run: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# The development lock holds every pin of the other one.
$(VENV)/.dev: requirements-dev.txt requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.run $@

.PHONY: lock
lock: $(BIN)/python ## Resolve the locks again from pyproject.toml (ARGS=--upgrade: newest versions)
	@test -x $(BIN)/uv || $(PIP) uv || { echo "make lock needs uv, which could not be installed into $(VENV)" >&2; exit 1; }
	$(LOCK) --group build --output-file requirements.txt
	$(LOCK) --group build --group dev --constraints requirements.txt --output-file requirements-dev.txt

LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header $(ARGS)

# --- running -------------------------------------------------------------------------------------

.PHONY: demo
demo: venv ## Ingest the bundled sample files from the bundled stand-in service
	$(BIN)/chatflow-ingest demo $(ARGS)

.PHONY: test
test: test-venv ## Run the test suite, all but the crash tests
	$(BIN)/python -m pytest --ignore=tests/crash --ignore=tests/bench $(ARGS)

.PHONY: crash
crash: test-venv ## Run the tests that kill processes and servers of their own
	$(BIN)/python -m pytest tests/crash $(ARGS)

.PHONY: bench
bench: test-venv ## Measure CPU, lag and memory beside other ways to do it (12 minutes)
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-plots
bench-plots: test-venv ## Draw what schedules of status calls cost
	$(BIN)/python -m tests.bench.plots $(ARGS)

# --- checking ------------------------------------------------------------------------------------

.PHONY: check
check: lint types imports ## Format, lint, types and import rules

.PHONY: lint
lint: test-venv ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: test-venv ## mypy, strict
	$(BIN)/mypy

.PHONY: imports
imports: test-venv ## import-linter: who may import whom
	$(BIN)/lint-imports

.PHONY: readme
readme: test-venv ## Write the README's generated blocks again from the code
	$(BIN)/python -m tests.readme_blocks --write

# --- the rest ------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove .venv, caches and build products
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
