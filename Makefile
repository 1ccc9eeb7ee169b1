# make repro      the whole experiment, then its metrics
# make test       the tests but for the slow ones; make test-all: all
# make lint       style
# make costs      the whole experiment again, and what each stage costs
# make clean      removes .venv and what killed stages had done
# All but clean build the environment in .venv first, from requirements.txt and constraints.txt.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: repro test test-all lint costs clean

repro: $(VENV)/ready
	dvc repro --keep-going
	python -m stages.report

test: $(VENV)/ready
	pytest -m "not slow"

test-all: $(VENV)/ready
	pytest

lint: $(VENV)/ready
	ruff check .
	ruff format --check .

# Runs every stage again, the same bytes come out, and prints what each cost.
costs: $(VENV)/ready
	dvc repro --force --no-run-cache
	python -m stages

$(VENV)/ready: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install -q -r requirements.txt -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .scratch .pytest_cache .ruff_cache dvc_plots
