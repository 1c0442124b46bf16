PYTHON ?= $(firstword $(shell command -v python3.11 python3 python))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
# Four times as fast as pip, which still serves where there is no uv or it cannot reach the index.
UV := --quiet --python $(BIN)/python --compile-bytecode --no-deps

.PHONY: help demo test check slow lint types smoke node benchmark lock clean

help:  ## show the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

$(READY): requirements.lock setup.cfg pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	{ $(PIP) uv==0.13.9 && $(BIN)/uv pip install $(UV) -r requirements.lock; } || $(PIP) -r requirements.lock
	$(PIP) -e .
	touch $(READY)

demo: $(READY)  ## search, train, export, serve and ask on simulated X-ray images
	$(BIN)/python tools/examples/demo.py

test: $(READY)  ## the tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

slow: $(READY)  ## the tests that take longer
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)  ## style and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)  ## static types
	$(BIN)/basedpyright

check: lint types test  ## everything that must hold before a commit

smoke: $(READY)  ## every shipped search setting, shrunk
	for file in search/*.toml; do $(BIN)/python -m tfmedcai.search --settings $$file --smoke --fresh --output build/smoke || exit 1; done

node:  ## install the Node client that a test asks with, if there is npm
	npm install --silent --no-audit --no-fund --prefix build/node @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1

benchmark: $(READY)  ## speed: TOPIC=snap, serving, segmentation, supernet, executors
	$(BIN)/python tools/benchmark.py $(or $(TOPIC),snap)

lock: $(READY)  ## write down the versions that are installed
	$(BIN)/python -m pip freeze --exclude-editable > requirements.lock

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build
