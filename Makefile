# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SOURCES := zapd tests

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

venv: .venv/.made ## build .venv from constraints.txt

.venv/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,postgresql]'
	@touch $@

run: venv ## start the daemon on its embedded defaults
	$(BIN)/zapd run

test: venv ## run every test
	$(BIN)/python -m pytest

check: venv ## lint, types, import rules
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: venv ## format the code
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: venv ## measure; rows go to build/bench.json
	$(BIN)/python -m tests.bench

chaos: venv ## break things on purpose; rows go to build/chaos.json
	$(BIN)/python -m tests.chaos

.PHONY: help venv run test check fmt bench chaos
