# Everything is installed in .venv. `make` without a target lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BASE ?= sentence-transformers/all-MiniLM-L6-v2
TASKS ?= sentiment nli sts paraphrase ner reading-comprehension
# These tasks start from the NLI model by the same method: nli stands before them in TASKS, or its checkpoint in build/.
AFTER_NLI := sts reading-comprehension

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

# DATA is the folder of data files, BASE the encoder (a folder or a hub id), and TASKS some of the TOML files in zoo/.
# The method settings in a file of zoo/ are ASA's; `train` leaves them out for another method.
zoo: install-dev  ## rebuild the default packages into build/zoo: make zoo DATA=DIR [BASE=DIR] [TASKS="nli sts"]
	@test -n "$(DATA)" || { echo "say where the data is: make zoo DATA=FOLDER (zoo/README.md says what it holds)"; exit 2; }
	@for task in $(TASKS); do \
		data=$(DATA)/$$(echo $$task | tr - _) made=build/$$task; \
		for method in plain asa; do \
			case " $(AFTER_NLI) " in *" $$task "*) base=build/nli-$$method;; *) base=$(BASE);; esac; \
			test -d $$base || test $$base = $(BASE) || { echo "$$task starts from $$base: name nli before it in TASKS"; exit 2; }; \
			test -d $$made-$$method || $(BIN)/steadfast train --config zoo/$$task.toml --method $$method \
				--base $$base --data $$data --out $$made-$$method || exit 1; \
		done; \
		test -d $$made-plain-package || $(BIN)/steadfast export $$made-plain -o $$made-plain-package || exit 1; \
		test -d build/zoo/$$task || $(BIN)/steadfast export $$made-asa --twin $$made-plain-package \
			-o build/zoo/$$task || exit 1; \
	done

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
