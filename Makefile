# SPDX-License-Identifier: Apache-2.0
# Everything starts here: `make help` lists the targets.

SHELL  := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONHOME PYTHONPATH VERILATOR_ROOT COCOTB_TRUST_INERTIAL_WRITES

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# One test at a time for each process: the first ones are the longest (conftest.py).
SHARED  = -n $(JOBS) --maxschedchunk 1
XML    := build/results

# Variables of `make regress`, `make waves` and `make list`
SIM    ?= both
CONFIG ?= all
SEED   ?= 1
SEEDS  ?= 1
JOBS   ?= 2
FILTER ?=
TEST   ?=
# Variables of `make evaluate` and `make report` (quick, default, full), `make dse`
GRID   ?= default
TRIALS ?= 200

# What `make test` covers: everything which is not marked slow, at these configurations.
QUICK_CONFIG ?= tiny,small,paper

.DEFAULT_GOAL := help
.PHONY: help env demo test test-lab regress lint waves bench evaluate report study dse list clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  regress, list:  SIM=verilator|icarus|both  CONFIG=tiny,small,paper|all  SEED=first"
	@echo "                  SEEDS=count  JOBS=processes  FILTER='pytest -k expression'"
	@echo "  evaluate:       GRID=quick|default|full  JOBS=processes"
	@echo "  dse:            TRIALS=count  JOBS=processes"
	@echo "  waves:          TEST='tb/<stage>/test_x.py::test_x[...]' SEED=1"

env: ## set up .venv (every other target does this by itself)
	@scripts/setup.sh

demo: env ## show the machine at work
	@$(PYTHON) scripts/demo.py

test: env ## lint, model tests and all quick hardware tests
	@mkdir -p $(XML)
	@status=0; \
	$(PYTHON) scripts/lint.py || status=1; \
	$(PYTEST) $(SHARED) --sim $(SIM) --config $(QUICK_CONFIG) --seed $(SEED) \
	    --junitxml=$(XML)/test.xml || status=1; \
	if [ $$status = 0 ]; then echo "make test: PASSED"; else echo "make test: FAILED"; fi; \
	exit $$status

regress: env ## all tests, also slow ones: simulators x configurations x seeds
	@mkdir -p $(XML)
	@$(PYTEST) $(SHARED) --slow --sim $(SIM) --config $(CONFIG) --seed $(SEED) --seeds $(SEEDS) \
	    $(if $(FILTER),-k '$(FILTER)') --junitxml=$(XML)/regress.xml

lint: env ## Verilator, Icarus and Yosys on every module; rules of style; ruff; documents
	@$(PYTHON) scripts/lint.py

waves: env ## rerun one test (TEST=...) and keep its waves with a GTKWave view
	@$(PYTHON) scripts/waves.py run '$(TEST)' --seed $(SEED)

bench: env ## cycles and bytes of the machine on real shapes
	@$(PYTHON) scripts/bench.py
	@$(PYTHON) scripts/bench_layers.py

evaluate: ## whole trained models with SOFA and its peers in every layer: GRID=, JOBS=
	@scripts/setup.sh lab
	@$(PYTHON) scripts/evaluate.py --grid $(GRID) --jobs $(JOBS)
	@$(PYTHON) scripts/report.py --grid $(GRID)

report: ## build/lab/report.html from the results that are there: GRID=
	@scripts/setup.sh lab
	@$(PYTHON) scripts/report.py --grid $(GRID)

study: ## organisations of rows, lanes and tiles on real selections of SmolLM2
	@scripts/setup.sh lab
	@$(PYTHON) scripts/selection_study.py

dse: ## search tile, quota and radius of every layer of SmolLM2: TRIALS=, JOBS=
	@scripts/setup.sh lab torch dse
	@$(PYTHON) scripts/dse.py --trials $(TRIALS) --workers $(JOBS)

test-lab: ## tests of the laboratory with all its optional packages
	@scripts/setup.sh lab torch dse
	@$(PYTEST) models/tests/lab

list: env ## list the tests which `make regress` with the same variables would run
	@$(PYTEST) --collect-only -q --slow --sim $(SIM) --config $(CONFIG) --seed $(SEED) \
	    --seeds $(SEEDS) $(if $(FILTER),-k '$(FILTER)')

clean: ## remove build products (keeps .venv)
	rm -rf build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
