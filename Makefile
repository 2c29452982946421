# Two commands: `make demo` runs the main job, `make test` proves the code. `make check` is
# the quick loop: lint, types, and the tests that load no model.
# Each installs what it needs into .venv, under constraints.txt, when that is out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODELS := builtin conformance mlx torch http
QUICK := $(MODELS:%=--ignore=tests/%)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt

# Tests start hundreds of processes, and compiled modules make each start quicker.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint clean

demo: $(VENV)/.demo
	$(BIN)/vqa-engine

test: lint
	$(BIN)/pytest -q --numprocesses 2 --dist worksteal

check: lint
	$(BIN)/pytest -q --numprocesses 2 --dist worksteal -m "not slow" $(QUICK)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[mlx]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
