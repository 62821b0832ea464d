# SPDX-License-Identifier: Apache-2.0
# Everything starts here: `make help` lists the targets.

SHELL  := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The single letters among make's own options, which may be inherited as well
LETTERS := $(filter-out -%,$(firstword $(MAKEFLAGS)))
ifneq (,$(findstring i,$(LETTERS))$(findstring e,$(LETTERS)))
$(error make -i ignores the exit codes, which are the verdicts, and -e prefers what is exported)
endif

PY     := .venv/bin/python
PYTEST := $(PY) -m pytest
XML    := build/results

# Variables count where make's command line gives them. What the caller's environment happens to
# hold under these names (SIM is cocotb's, too) does not.
default = $(if $(filter command,$(firstword $(origin $1))),,$(eval $1 := $2))
# `make test`, `make regress` and `make list`; `make waves` takes SEED and TEST
$(call default,SIM,both)
$(call default,CONFIG,all)
$(call default,SEED,1)
$(call default,SEEDS,1)
$(call default,FILTER,)
$(call default,TEST,)
$(call default,WAVE_DEPTH,)
# `make regress` and `make bench`: 1 for traces and pictures of what every stage did
$(call default,TIMELINE,)
TIMELINES = $(if $(filter-out 0,$(TIMELINE)),--timeline)
# `make synth` and `make gates` take CONFIG, default tiny
SYNTH_CONFIG = $(if $(filter command,$(firstword $(origin CONFIG))),$(CONFIG),tiny)
# `make power` takes CONFIG, default lean
POWER_CONFIG = $(if $(filter command,$(firstword $(origin CONFIG))),$(CONFIG),lean)
# `make evaluate` and `make report` (quick, default, long, full), `make dse`
$(call default,GRID,default)
$(call default,TRIALS,200)
# `make coverage`, `prove`, `mutate`, `soak`: 1 for what ten minutes allow
$(call default,QUICK,)
QUICKLY = $(if $(filter-out 0,$(QUICK)),--quick)
# All which run tests or measure
$(call default,JOBS,2)
# The shell reads them from its environment, so that no quote in them reaches its syntax.
export SIM CONFIG SEED SEEDS FILTER TEST WAVE_DEPTH GRID TRIALS JOBS

# What Python, pytest, numba and the shell read from the environment before the code here runs.
# tb/runner.py does the same for compilers, simulators and cocotb. PYTHON is for scripts/setup.sh.
unexport $(filter-out PYTHON,$(filter PYTHON% PYTEST% NUMBA_DISABLE_JIT,$(.VARIABLES)))
unexport BASH_ENV ENV SHELLOPTS BASHOPTS CDPATH
export PYTHONUTF8 := 1

# The longest tests come first (conftest.py), so processes take one at a time.
SHARED = -n "$$JOBS" --maxschedchunk 1
SLICE  = --sim "$$SIM" --config "$$CONFIG" --seed "$$SEED" --seeds "$$SEEDS" \
         $(if $(FILTER),-k "$$FILTER")
# Wrong values, and a slice without tests, end here in one sentence, before anything starts.
check_jobs  = [[ "$$JOBS" =~ ^[1-9][0-9]*$$ ]] || \
              { echo "JOBS is '$$JOBS', legal: a number of processes, 1 or more" >&2; exit 2; }
given       = $(filter command,$(foreach v,SIM CONFIG SEED SEEDS FILTER,$(origin $v)))
check_slice = $(if $(given),$(PYTEST) $1 $(SLICE) --collect-only -qq >/dev/null)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help env demo test test-lab regress lint waves bench plan coverage prove mutate soak \
        signoff synth gates power fpga evaluate report dse list clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  test, regress,  SIM=verilator|icarus|both  CONFIG=tiny,small,..|all  SEED=first"
	@echo "  list:           SEEDS=count  JOBS=processes  FILTER='pytest -k expression'"
	@echo "  regress, bench: TIMELINE=1 leaves traces and pictures of what every stage did"
	@echo "  evaluate:       GRID=quick|default|long|full  JOBS=processes"
	@echo "  dse:            TRIALS=count  JOBS=processes"
	@echo "  waves:          TEST='tb/<stage>/test_x.py::test_x[...]' SEED=1 WAVE_DEPTH=levels"
	@echo "  all:            PYTHON=/path/to/python3 with which .venv is made"

env: ## set up .venv (every other target does this by itself)
	@scripts/setup.sh

demo: ## show the machine at work: layers, heads, a model
	@scripts/setup.sh capture
	@$(PY) scripts/demo.py

test: env ## lint, model tests and all quick hardware tests
	@$(check_jobs)
	@$(check_slice)
	@mkdir -p $(XML); trap 'echo "make test: interrupted"; exit 130' INT; \
	status=0; narrow=; \
	[ "$$SIM" = both ] || narrow+=" SIM=$$SIM"; \
	[ "$$CONFIG" = all ] || narrow+=" CONFIG=$$CONFIG"; \
	[ -z "$$FILTER" ] || narrow+=" FILTER='$$FILTER'"; \
	$(PY) scripts/lint.py || status=1; \
	$(PYTEST) $(SHARED) $(SLICE) --junitxml=$(XML)/test.xml || status=1; \
	if [ $$status = 0 ]; then verdict=PASSED; else verdict=FAILED; fi; \
	echo "make test: $$verdict$${narrow:+, narrowed to$$narrow}"; \
	exit $$status

regress: env ## all tests, also slow ones: simulators x configurations x seeds
	@$(check_jobs)
	@$(call check_slice,--slow)
	@mkdir -p $(XML)
	@$(PYTEST) $(SHARED) --slow $(SLICE) $(TIMELINES) --junitxml=$(XML)/regress.xml

lint: env ## Verilator, Icarus and Yosys on every module; rules of style; ruff; documents
	@$(PY) scripts/lint.py

waves: env ## rerun one test (TEST=...) and keep its waves with a view
	@$(PY) scripts/waves.py run "$$TEST" --seed "$$SEED"

bench: env ## cycles and bytes of the machine on real shapes, against its bounds: TIMELINE=1
	@$(PY) scripts/bench.py $(TIMELINES)

plan: env ## the test plan against the tests and coverage points that there are; its pages
	@$(PY) scripts/plan.py

coverage: env ## lines, branches, expressions, toggles and functional bins that the tests reach: QUICK=1
	@$(check_jobs)
	@$(PY) scripts/cover.py --jobs "$$JOBS" $(QUICKLY)

prove: ## properties of the blocks proved, each with a trace that reaches it and a bug it finds: QUICK=1
	@$(check_jobs)
	@scripts/setup.sh prove
	@$(PY) scripts/prove.py --jobs "$$JOBS" $(QUICKLY)

mutate: env ## faults planted in every module, and which test finds each: QUICK=1, JOBS=
	@$(check_jobs)
	@$(PY) scripts/mutate.py --jobs "$$JOBS" $(QUICKLY)

soak: env ## random jobs, chains and layers, one seed each; the failing one made small: SEEDS=, QUICK=1
	@$(check_jobs)
	@$(PY) scripts/soak.py --jobs "$$JOBS" $(QUICKLY) $(if $(filter command,$(firstword $(origin SEEDS))),--seeds "$$SEEDS")

signoff: env ## one page of plan, tests, coverage, mutants, proofs, soak and bugs
	@$(PY) scripts/signoff.py

synth: env ## area and longest paths of every block in Nangate45, against the budgets: CONFIG=, JOBS=
	@$(check_jobs)
	@$(PY) scripts/synth.py --config "$(SYNTH_CONFIG)" --jobs "$$JOBS"

gates: env ## unit tests on the netlists of synthesis in place of the RTL: CONFIG=, JOBS=
	@$(check_jobs)
	@$(PY) scripts/gates.py --config "$(SYNTH_CONFIG)" --jobs "$$JOBS"

power: env ## energy of a real head, block by block, sparse and dense: CONFIG=, JOBS=
	@$(check_jobs)
	@$(PY) scripts/power.py --config "$(POWER_CONFIG)" --jobs "$$JOBS"

fpga: ## `tiny` placed and routed for Lattice ECP5: look-up tables, multipliers, memories, clock
	@scripts/setup.sh fpga
	@$(PY) scripts/fpga.py

evaluate: ## whole trained models with SOFA and its peers in every layer: GRID=, JOBS=
	@scripts/setup.sh lab
	@$(PY) scripts/evaluate.py --grid "$$GRID" --jobs "$$JOBS"
	@$(PY) scripts/report.py --grid "$$GRID"

report: ## build/lab/report.html from the results that are there: GRID=
	@scripts/setup.sh lab
	@$(PY) scripts/report.py --grid "$$GRID"

dse: ## search threshold, tile and codes of every layer of SmolLM2: TRIALS=, JOBS=
	@scripts/setup.sh lab torch dse
	@$(PY) scripts/dse.py --trials "$$TRIALS" --workers "$$JOBS"

test-lab: ## tests of the laboratory with all its optional packages
	@scripts/setup.sh lab torch dse
	@$(PYTEST) models/tests/lab

list: env ## list the tests which `make regress` with the same variables would run
	@$(call check_slice,--slow)
	@$(PYTEST) --collect-only -q --slow $(SLICE)

clean: ## remove build products (keeps .venv)
	rm -rf build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
