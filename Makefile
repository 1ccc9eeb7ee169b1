# make repro      the whole experiment, then its measures
# make verify     compares the figures here with expected.yaml
# make test       the tests but for the slow ones, in two processes; make test-all: all
# make gpu        tests of a GPU and both speeds on it, with PYTHON's own packages: ten minutes
# make lint       style, layers of imports, types
# make faults     kills, full disks, damage and half a million bad inputs; more than an hour
# make audit      known vulnerabilities of the pinned packages; needs a network
# make costs      the whole experiment again, and what each stage costs
# make clean      removes .venv, the caches and .scratch; make clean-scratch: only the last
# All but gpu and clean first make the environment in .venv (tools/install.py), from requirements.txt,
# requirements-no-deps.txt and constraints.txt; test, lint and faults add requirements-test.txt.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# uv leaves compiling to the first import; with this set to a value, each process would compile again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: repro verify test test-all gpu lint faults audit costs clean clean-scratch

repro: $(VENV)/ready
	python -m tools.versions
	python -m tools.repro
	python -m tools.report

verify: $(VENV)/ready
	python -m tools.verify

test: $(VENV)/tests
	@echo "Two processes import all libraries before the first dot."
	pytest -m "not slow" -n 2 --dist loadfile
	pytest -q -m gpu --confcutdir tests/gpu tests/gpu  # on the CPU, so that `make gpu` stays ready

test-all: $(VENV)/tests
	pytest -n 2 --dist loadfile

# DEVICE=cpu tries it without a GPU. The benchmarks need what `dvc repro prepare init mine@first` makes.
DEVICE ?= cuda
gpu:
	$(PYTHON) -m pytest -m gpu --confcutdir tests/gpu --device $(DEVICE) tests/gpu
	$(PYTHON) -m benchmarks.encoding --device $(DEVICE) --texts $(if $(filter cpu,$(DEVICE)),50,20000)
	$(PYTHON) -m benchmarks.training --device $(DEVICE) --batch-size 256

lint: $(VENV)/tests
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy

FAULTS := $(addprefix tests/pipeline/test_,$(addsuffix .py,stages_alone stops full_cache failures))
faults: $(VENV)/tests
	pytest -n 2 --dist loadfile tests/fuzz $(FAULTS)

audit: $(VENV)/ready
	$(VENV)/bin/pip install -q --no-warn-conflicts pip-audit
	pip-audit --no-deps --disable-pip $(addprefix -r ,$(wildcard requirements*.txt) constraints.txt)

# Reruns every stage, which makes the same bytes (except Lucene's index), and prints the costs. Work
# that a killed stage had finished is not repeated: the cost is then that of the rest.
costs: $(VENV)/ready
	python -m tools.costs --forget
	dvc repro --force --no-run-cache
	python -m tools.costs

$(VENV)/ready: requirements.txt requirements-no-deps.txt constraints.txt
	$(PYTHON) tools/install.py
	touch $@

$(VENV)/tests: $(VENV)/ready requirements-test.txt
	$(PYTHON) tools/install.py requirements-test.txt
	touch $@

# Unfinished work, converted encoders and downloads; all are made again.
clean-scratch:
	rm -rf .scratch

clean: clean-scratch
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache dvc_plots
