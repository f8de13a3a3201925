# make run: the answer for Llama 3.1 70B on eight H100; make test: everything tested. Both make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test lint types bench calibrate clean

run: $(STAMP)
	$(BIN)/pertoken price llama-3.1-70b --on 8xh100-sxm --dtype fp8 -o answer.json

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/truth.py
	$(BIN)/python benchmarks/cold_start.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

# OPERATORS: folder with the wheels that hold the operator tables, see docs/calibration.md
OPERATORS ?= operators
calibrate: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[calibrate]"
	$(BIN)/python -m pertoken.calibrate $(OPERATORS)/aiconfigurator_core-0.12.0-*.whl --out src/pertoken/catalog/efficiency

clean:
	rm -rf $(VENV) answer.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
