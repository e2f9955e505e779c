# Two commands: make run, make test. Each works alone in a fresh clone; the rest is for work on the harness itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SOURCES := pyproject.toml $(wildcard native/*)

.PHONY: run test lint check docs clean

run: $(STAMP)
	$(BIN)/crash-harness run

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 tests scenarios

lint: $(STAMP)
	$(BIN)/ruff format --check harness tests
	$(BIN)/ruff check harness tests
	$(BIN)/mypy

check: lint test

# Pages that are generated; tests say when they are stale.
docs: $(STAMP)
	$(BIN)/crash-harness faults --markdown > docs/faults.md

# Editable, so only a change to the native side needs another install.
$(STAMP): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build
