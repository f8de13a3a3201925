# make run: the answer for Llama 3.1 70B on eight H100; make page: opens the page; make test: everything tested. They make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# OPERATORS: folder with the wheels that hold the operator tables, see docs/calibration.md
OPERATORS ?= operators

.PHONY: run page test lint types docs bench calibrate waits energy clean

run: $(VENV)/.runs
	$(BIN)/pertoken price llama-3.1-70b --on 8xh100-sxm --dtype fp8 -o answer.json

page: $(VENV)/.runs
	$(PIP) -e ".[page]"
	$(BIN)/pertoken serve --open

test: $(VENV)/.tests
	$(BIN)/python -m pytest

lint: $(VENV)/.tests
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts

types: $(VENV)/.tests
	$(BIN)/mypy

docs: $(VENV)/.tests
	$(BIN)/python scripts/make_docs.py

bench: $(VENV)/.tests
	$(BIN)/python benchmarks/truth.py
	$(BIN)/python benchmarks/deepseek.py
	$(BIN)/python benchmarks/chunks.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/positions.py
	$(BIN)/python benchmarks/market.py
	$(BIN)/python benchmarks/simulate.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/serve_load.py
	$(BIN)/python benchmarks/page.py

calibrate: $(VENV)/.tests
	$(PIP) -e ".[calibrate]"
	$(BIN)/python -m pertoken.calibrate $(OPERATORS)/aiconfigurator*.whl --out src/pertoken/catalog/efficiency

waits: $(VENV)/.tests
	$(BIN)/python scripts/fit_waits.py --cross --write

# WALL: CSV of wall power of whole servers, to hold the result against, see docs/energy.md
energy: $(VENV)/.tests
	$(BIN)/python scripts/fit_energy.py --write $(if $(WALL),--wall $(WALL))

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.runs: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.tests: $(VENV)/.runs
	$(PIP) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) answer.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
