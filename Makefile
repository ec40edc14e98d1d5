# Everything that is done to this repository, on a laptop and in CI alike. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Applications used as tools live apart: their pins never bind the product's.
TOOLS := .venv-tools
DATACONTRACT := .venv-datacontract
# `venv --clear` empties what a link points to: the environment of another checkout.
of-this-checkout = test ! -L $(1) || { \
  echo "make: expected $(1) as a folder of this checkout, found a link to another's, which is not made anew" \
       "from here; run this target there, or remove the link" >&2; exit 1; }
# Spark is only measured against: it brings 300 MB and a Java of its own.
SPARK := .venv-spark
GO_TOOLS := .go-tools

# Images set this to be small; tests start a thousand processes, each of which would compile all that it reads.
unexport PYTHONDONTWRITEBYTECODE

include make/terraform.mk make/security.mk make/release.mk

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 21

.PHONY: demo
demo: install ## Install what is needed and run the whole pipeline on this machine
	@$(BIN)/lean-ops demo

# A process that a test ended (it crashed, or hung: pyproject.toml) is not replaced: by file, xdist would give the
# same test to each of eight more. In the order of their folders, small files come last and fill all processes.
# Three for two cores: a test waits for the processes that it starts.
BY_FILE := -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# What has a target of its own.
OF_THEIR_OWN := browser checks datacontract drills memory readers simulation spark

.PHONY: test
test: install tools ## Install what is needed and run all tests but those that have a target of their own
	$(BIN)/pytest $(BY_FILE) $(addprefix --ignore=tests/,$(OF_THEIR_OWN)) $(PYTEST_ARGUMENTS)

.PHONY: test-simulation
test-simulation: install ## Play histories of everything at once, 300 of them drawn from seeds (seven minutes)
	$(BIN)/pytest -n 2 --max-worker-restart 0 tests/simulation $(PYTEST_ARGUMENTS)

.PHONY: test-drills
test-drills: install ## Work on running stacks as the runbook says, break them and heal them (half an hour)
	$(BIN)/pytest $(BY_FILE) tests/drills $(PYTEST_ARGUMENTS)

# One test is all kills of a function, which takes longer than a test that hangs is given elsewhere.
.PHONY: test-outside-faults
test-outside-faults: install ## Kill every function before and after each of its calls on a running stack (hours; JOB=<function>)
	OUTSIDE_FAULTS=whole $(BIN)/pytest -v -o faulthandler_timeout=14400 $(if $(JOB),-k "$(JOB)]") tests/drills/test_any_call_of_a_job_may_be_its_last.py $(PYTEST_ARGUMENTS)

.PHONY: test-readers
test-readers: install ## Let Trino, the engine of Athena, and Spark read what the pipeline writes (fetches 1.2 GB once; needs Java 22 and 17)
	$(BIN)/pytest tests/readers $(PYTEST_ARGUMENTS)

.PHONY: test-spark
test-spark: install ## Let Spark and functions merge the same histories, and kill what runs on Spark (fetches 0.5 GB once; needs Java 17)
	$(BIN)/pytest tests/spark $(PYTEST_ARGUMENTS)

.PHONY: test-browser
test-browser: install ## Look at the page of `lean-ops console` in the system's Chromium (skipped where there is none)
	$(BIN)/pytest tests/browser $(PYTEST_ARGUMENTS)

.PHONY: test-datacontract
test-datacontract: install $(DATACONTRACT)/.installed ## Let datacontract-cli lint exported contracts and hold the tables against them (a minute)
	$(BIN)/pytest tests/datacontract $(PYTEST_ARGUMENTS)

.PHONY: test-checks
test-checks: install tools ## Plant faults that `make lint` and `make security` are there for, and let them find each (a minute)
	$(BIN)/pytest tests/checks $(PYTEST_ARGUMENTS)

.PHONY: test-memory
test-memory: install ## Hold the peaks of merges and runs against what functions are given (a minute)
	$(BIN)/pytest tests/memory $(PYTEST_ARGUMENTS)

.PHONY: screenshots
screenshots: install ## Make the pictures of the page for the documentation (docs/screenshots)
	SCREENSHOTS_TO=docs/screenshots $(BIN)/pytest tests/browser -k "new or batch or inert or every" $(PYTEST_ARGUMENTS)

# One test that draws for an hour does not hang.
LONG := -o faulthandler_timeout=14400

.PHONY: test-operations-long
test-operations-long: install ## Kill operations at each of their calls, and play 1,000 more histories (half an hour)
	SIMULATED_LONG=1 SIMULATED_FIRST=1001 SIMULATED_SEEDS=1000 $(BIN)/pytest -n 2 $(LONG) tests/simulation $(PYTEST_ARGUMENTS)

# SEED as it was given: below it has a default for the generated tests.
GIVEN_SEED = $(if $(filter command environment,$(firstword $(origin SEED))),$(SEED))
FROM_SEED = seeds --first $(or $(GIVEN_SEED),1) --number $(or $(SEEDS),300) $(if $(KINDS),--kinds $(KINDS))
ONE_SEED = seed $(GIVEN_SEED) $(if $(STEPS),--steps $(STEPS)) $(if $(CALM),--calm $(CALM)) $(if $(KINDS),--kinds $(KINDS)) $(if $(FAULT),--fault $(FAULT))

.PHONY: simulate
simulate: install ## Play histories of everything at once from seeds, with all that breaks (SEEDS=300; SEED=42: in words)
	@$(BIN)/python -m tests.simulation $(if $(GIVEN_SEED),$(if $(SEEDS),$(FROM_SEED),$(ONE_SEED)),$(FROM_SEED))

.PHONY: soak
soak: install ## Play new seeds for so long, or until one fails (MINUTES=60)
	@$(BIN)/python -m tests.simulation soak --minutes $(or $(MINUTES),60) $(if $(GIVEN_SEED),--first $(GIVEN_SEED))

.PHONY: simulate-planted
simulate-planted: install ## Plant faults one at a time: histories must find 95 of 100 (an hour; FAULTS=<names>, BUDGET=60 seeds)
	@$(BIN)/python -m tests.simulation planted --budget $(or $(BUDGET),60) $(FAULTS)

TIMES ?= 20
SEED ?= $(shell date +%s)

.PHONY: test-generated
test-generated: install ## Run the generated tests with many more cases (TIMES=20, SEED=<printed>)
	@echo "SEED=$(SEED)"
	GENERATED_TIMES=$(TIMES) $(BIN)/pytest -n 2 $(LONG) --hypothesis-seed=$(SEED) \
	  $$(grep -rl --include='test_*.py' 'support.generated import' tests)

.PHONY: test-histories-long
test-histories-long: install ## Go through thousands of histories of keys, through the real jobs (TIMES=20: 3,840)
	GENERATED_TIMES=$(TIMES) $(BIN)/pytest -n 2 $(LONG) tests/integration/layers/test_histories_end_as_the_oracle_says.py \
	  $(PYTEST_ARGUMENTS)

.PHONY: check
check: lint security test-terraform test-simulation test-drills test-readers test-spark test-datacontract test-checks test-memory test-browser test ## All that CI runs

.PHONY: lint
lint: format-check lint-python types lint-terraform lint-workflows ## Format, lint, types, Terraform, workflows

.PHONY: format-check
format-check: install ## Fail if a Python file is not formatted
	$(BIN)/ruff format --check .

.PHONY: format
format: install ## Format the Python files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint-python
lint-python: install ## Lint the Python files
	$(BIN)/ruff check .

.PHONY: types
types: install ## Check the types
	$(BIN)/mypy

.PHONY: bench
bench: install ## Print the table of goals, write it into docs/benchmarks.md (BENCH_ARGUMENTS="--only large --runs 5"; wants a quiet machine)
	$(BIN)/python tests/benchmarks/merge/run.py --write $(BENCH_ARGUMENTS)

.PHONY: bench-all
bench-all: install tools $(TFLINT) bench ## Measure everything else too (an hour)
	$(BIN)/python tests/benchmarks/merge/bench_thresholds.py --write
	$(BIN)/python tests/benchmarks/bench_flattening.py --write
	$(BIN)/python tests/benchmarks/bench_semantic.py --write
	$(BIN)/python tests/benchmarks/bench_erase.py --write
	$(BIN)/python tests/benchmarks/bench_retention.py --write
	$(BIN)/python tests/benchmarks/bench_reconcile.py --write
	$(BIN)/python tests/benchmarks/bench_sqs_processor.py --write
	$(BIN)/python tests/benchmarks/bench_demo.py --write
	$(BIN)/python tests/benchmarks/bench_start_up.py --write
	infra/with-provider $(BIN)/python tests/benchmarks/bench_terraform.py --write

.PHONY: bench-quick
bench-quick: install ## Measure the first of it beside its yardsticks, and whether that fell since it was kept (5 minutes)
	$(BIN)/python tests/benchmarks/bench_quick.py $(BENCH_ARGUMENTS)

.PHONY: bench-backlog
bench-backlog: install ## Clear ten million events on Spark and by functions, kill a driver meanwhile, compare (an hour; needs Java 17)
	$(BIN)/python tests/benchmarks/bench_backlog.py --write $(BENCH_ARGUMENTS)

.PHONY: bench-spark
bench-spark: ## Install Spark for the comparison in `make bench` and for its test (needs Java 17)
	@$(PYTHON) -m venv --clear $(SPARK)
	@$(SPARK)/bin/pip install --quiet --disable-pip-version-check pyspark==3.5.7 py4j==0.10.9.7

.PHONY: install
install: $(VENV)/.installed ## Make the environment from the locked dependencies

.PHONY: tools
tools: $(TOOLS)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: expected Python 3.11 or newer as '$(PYTHON)', found $$($(PYTHON) --version 2>&1 || true);" \
	       "install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) (once, about a minute)"
	@$(call of-this-checkout,$(VENV))
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS)/.installed: requirements-tools.lock
	@echo "Installing the locked check tools into $(TOOLS) (once)"
	@$(call of-this-checkout,$(TOOLS))
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-tools.lock
	@touch $@

$(DATACONTRACT)/.installed: requirements-datacontract.lock
	@echo "Installing the locked datacontract-cli into $(DATACONTRACT) (once, half a gigabyte)"
	@$(call of-this-checkout,$(DATACONTRACT))
	@$(PYTHON) -m venv --clear $(DATACONTRACT)
	@$(DATACONTRACT)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-datacontract.lock
	@touch $@

$(GO_TOOLS)/.installed: tools/go.mod tools/go.sum
	@PATH=$$PATH:/usr/local/go/bin; command -v go >/dev/null || { \
	  echo "make: expected Go $$(sed -n 's/^go //p' tools/go.mod) or newer on the PATH, found none;" \
	       "actionlint, gitleaks and tflint are built with it" >&2; exit 1; }; \
	  echo "Building the locked check tools into $(GO_TOOLS) (once, about a minute)"; \
	  cd tools && GOBIN=$(CURDIR)/$(GO_TOOLS) go install tool
	@touch $@

.PHONY: lock
lock: ## Resolve the dependencies again (needs uv on the PATH)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock
	uv pip compile requirements-tools.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements-tools.lock
	uv pip compile requirements-datacontract.in --no-config --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements-datacontract.lock

.PHONY: clean
clean: ## Stop the local stack and remove everything that was made
	@if [ -x $(BIN)/lean-ops ]; then $(BIN)/lean-ops down --wipe; fi
	rm -rf $(VENV) $(TOOLS) $(DATACONTRACT) $(GO_TOOLS) $(SPARK) .lean-ops .mypy_cache .ruff_cache .pytest_cache .hypothesis modules/compute/.build
