# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
# The system's own Python where it will do. Distributions build it optimized: zapd carries a quarter more messages on
# Debian's than on one compiled by pyenv, and the systemd unit cannot see one in a home directory.
SYSTEM_PYTHON := /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM_PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $(SYSTEM_PYTHON) || echo python3)
BIN := .venv/bin
SOURCES := zapd tests

# Bytecode of the largest packages without docstrings, which are 4 MB of an idle daemon; and of zapd as it is.
define COMPILE
import compileall, importlib.util, pathlib, py_compile
for name in "aiohttp", "attr", "pydantic", "pydantic_core", "redis", "sqlalchemy", "structlog":
    for source in pathlib.Path(importlib.util.find_spec(name).origin).parent.rglob("*.py"):
        py_compile.compile(source, importlib.util.cache_from_source(source), optimize=2)
compileall.compile_dir("zapd", quiet=1)
endef
export COMPILE

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo "  PYTHON=python3.12 make venv takes another Python (3.11 or newer)"

venv: .venv/.made ## build .venv from constraints.txt; again when that changed or a build was interrupted

# Packages are exchanged in place, because a daemon may be running from here. What has no working pip (an interrupted
# build, a Python that is gone) is built anew.
.venv/.made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "zapd needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "building .venv: half a minute, once"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,postgresql,web]'
	@$(BIN)/python -c "$$COMPILE"
	@touch $@

# One pool of memory for the event loop and one for all threads, as in the systemd unit.
run bench: export MALLOC_ARENA_MAX := 2

run: venv ## start the daemon on its embedded defaults; Ctrl-C stops it
	$(BIN)/zapd run

# Two processes, a file of tests in one of them.
test: venv ## run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile

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

clean: ## delete what was built; ./state stays
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help venv run test check fmt bench chaos clean
