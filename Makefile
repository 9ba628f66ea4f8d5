# Two commands do everything, environment included: `make demo` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FUZZ_INPUTS ?= 1000000
FUZZ_SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow lint fuzz crash docs format results figures clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY)  ## Make the environment in .venv

# torch first and pinned: a build for the CPU where the index has one.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY)  ## Store a small network in measured cells by every scheme: table and plot
	@mkdir -p out
	$(BIN)/softcell compare --task digits --device pcm-partial-reset --seeds 10 \
		--json out/digits.json --plot out/digits.svg

test: lint $(READY)  ## Lint, types, import order, tests and documentation: what CI runs
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY)  ## The tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

fuzz: $(READY)  ## Damaged inputs for every parser: FUZZ_INPUTS=1000000 FUZZ_SEED=0
	$(BIN)/python tests/fuzz/run.py --inputs $(FUZZ_INPUTS) --seed $(FUZZ_SEED) --keep out/fuzz

crash: $(READY)  ## Kills and disk errors at every file event of every verb that writes (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python tests/crash/strike.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

figures: $(READY)  ## Figures of the design, ours beside them
	$(BIN)/python benchmarks/limits/figures.py

results: $(READY)  ## Make docs/results.md again (hours)
	$(BIN)/python benchmarks/studies/schemes.py
	$(BIN)/python benchmarks/pages/results.py

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) out site build dist
