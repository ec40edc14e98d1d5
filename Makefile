# Everything that is done to this repository, on a laptop and in CI alike. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Applications used as tools live apart: their pins never bind the product's.
TOOLS := .venv-tools

include make/terraform.mk

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: demo
demo: install ## Install what is needed and run the whole pipeline on this machine
	@$(BIN)/lean-ops demo

.PHONY: test
test: install tools ## Install what is needed and run all tests
	$(BIN)/pytest -n 2 --dist loadfile

.PHONY: check
check: install tools format-check lint types test ## All that CI runs

.PHONY: format-check
format-check: install ## Fail if a Python file is not formatted
	$(BIN)/ruff format --check .

.PHONY: format
format: install ## Format the Python files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: install ## Lint the Python files
	$(BIN)/ruff check .

.PHONY: types
types: install ## Check the types
	$(BIN)/mypy

.PHONY: bench
bench: install ## Measure everything, write docs/benchmarks.md (an hour; wants a quiet machine)
	$(BIN)/python tests/benchmarks/bench_sqs_processor.py --write
	$(BIN)/python tests/benchmarks/bench_flattening.py
	$(BIN)/python tests/benchmarks/bench_demo.py --write
	$(BIN)/python tests/benchmarks/merge/run.py

.PHONY: install
install: $(VENV)/.installed ## Make the environment from the locked dependencies

.PHONY: tools
tools: $(TOOLS)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: expected Python 3.11 or newer as '$(PYTHON)', found $$($(PYTHON) --version 2>&1 || true);" \
	       "install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS)/.installed: requirements-tools.lock
	@echo "Installing the locked check tools into $(TOOLS) (once)"
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-tools.lock
	@touch $@

.PHONY: lock
lock: ## Resolve the dependencies again (needs uv on the PATH)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock
	uv pip compile requirements-tools.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements-tools.lock

.PHONY: clean
clean: ## Stop the local stack and remove everything that was made
	@if [ -x $(BIN)/lean-ops ]; then $(BIN)/lean-ops down --wipe; fi
	rm -rf $(VENV) $(TOOLS) .lean-ops .mypy_cache .ruff_cache .pytest_cache .hypothesis modules/compute/.build
