# Everything is installed in .venv. `make` without a target lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install install-dev serve test lint bench docs zoo bento

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

install: .venv/runtime.done  ## install what serving needs, without torch
install-dev: .venv/dev.done  ## install everything: for training, export and tests

serve: install  ## serve zoo/ on port 3000
	$(BIN)/steadfast serve

test: install-dev lint  ## check style and types, and run all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: install-dev  ## check style and types, by ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install-dev  ## measure what serving and training cost, as ratios within one run
	$(BIN)/python -m benchmarks

docs: .venv/docs.done  ## build the guides and the API reference as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# DATA is the folder of data files, BASE the encoder (a folder or a hub id), and TASKS some of the folders in zoo/recipes/.
zoo: install-dev  ## train the default packages again, into build/zoo: make zoo DATA=DIR [BASE=DIR] [TASKS="nli sts"]
	@test -n "$(DATA)" || { echo "say where the data is: make zoo DATA=FOLDER (zoo/README.md says what it holds)"; exit 2; }
	$(BIN)/python -m benchmarks.zoo --data $(DATA) $(if $(BASE),--base $(BASE)) $(TASKS)

bento: install  ## build the Bento
	$(BIN)/bentoml build

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Steadfast needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/runtime.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	@touch $@

# torch comes first, by itself: packages that depend on it then keep the build that pip chose for this machine.
.venv/dev.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/runtime.done

# The reference is read from the source, so that this needs no torch.
.venv/docs.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@ .venv/runtime.done
