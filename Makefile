# Every target sets up what it needs, in .venv, and nothing else on the machine.
# Another Python: make PYTHON=python3.12 test. Options for stress: make stress ARGS="--workers 32".

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check

.PHONY: help stress simulate test test-ceph test-recipes prove coverage check format docs wheel clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-13s %s\n' "$$name" "$$what"; done

stress: $(VENV)/.stress  ## Run the stress benchmark on the embedded S3
	$(BIN)/cf-data-tracker stress $(ARGS)

simulate: $(VENV)/.bench  ## Simulate up to 4,000 workers on S3, in virtual time
	$(BIN)/python benchmarks/simulate.py $(ARGS)

test: $(VENV)/.dev  ## Run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --fail-under=100 --include='*/errors.py,*/names.py,*/model.py,*/document.py,*/rules/*,*/engine/*'

test-ceph: $(VENV)/.dev  ## Run the store contract, the races and the stress on Ceph's radosgw
	$(BIN)/python -m pytest -m ceph $(ARGS)

test-recipes: $(VENV)-recipes/.made  ## Run the recipes for Dagster and Prefect, in an environment of their own
	$(VENV)-recipes/bin/python -m pytest -m recipes tests/test_recipes.py $(ARGS)

prove: $(VENV)/.dev  ## Try every interleaving and fate that half an hour and 3 GB allow, and print what was tried
	$(BIN)/python -m pytest -m prove --numprocesses 2 --dist worksteal --timeout 3000 $(ARGS)

coverage: test  ## Show what the tests do not reach
	$(BIN)/coverage report

check: $(VENV)/.dev docs  ## Lint, types, layers, docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Put the code in its form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.dev  ## Build the docs, warnings being errors, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

wheel: $(VENV)/.dev  ## Build the wheel, and try it in an environment of its own
	rm -rf dist
	$(PIP) wheel . --no-deps --wheel-dir dist --constraint constraints.txt
	rm -rf dist/venv && $(PYTHON) -m venv dist/venv
	dist/venv/bin/pip --quiet --disable-pip-version-check install --constraint constraints.txt "$$(echo dist/*.whl)[stress]"
	cd dist && venv/bin/cf-data-tracker stress --workers 2 --files 6

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(VENV)-recipes .cache dist docs/_build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "Python 3.10 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --upgrade pip

$(VENV)/.stress: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[stress]'
	@touch $@

$(VENV)/.bench: $(VENV)/.stress
	$(PIP) install --constraint constraints.txt --group bench
	@touch $@

$(VENV)/.dev: $(VENV)/.stress
	$(PIP) install --constraint constraints.txt --group test --group lint --group docs
	@touch $@

$(VENV)-recipes/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-recipes
	$(VENV)-recipes/bin/pip --quiet --disable-pip-version-check install --constraint constraints.txt --upgrade pip
	$(VENV)-recipes/bin/pip --quiet --disable-pip-version-check install --constraint constraints.txt --editable '.[stress]' --group recipes
	@touch $@
