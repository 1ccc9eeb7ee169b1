# make repro      the whole experiment, then its measures
# make test       the tests but for the slow ones; make test-all: all
# make lint       style, layers of imports, types
# make costs      the whole experiment again, and what each stage costs
# make clean      removes .venv, the caches and .scratch
# All but clean first build the environment in .venv, from requirements.txt and constraints.txt.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: repro test test-all lint costs clean

repro: $(VENV)/ready
	dvc repro --keep-going
	python -m tools.report

test: $(VENV)/ready
	pytest -m "not slow"

test-all: $(VENV)/ready
	pytest

lint: $(VENV)/ready
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy

# Runs every stage again, which makes the same bytes, and prints what each cost.
costs: $(VENV)/ready
	dvc repro --force --no-run-cache
	python -m tools.costs

$(VENV)/ready: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install -q -r requirements.txt -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .scratch .pytest_cache .ruff_cache .mypy_cache .import_linter_cache dvc_plots
