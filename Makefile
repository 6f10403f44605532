# The commands of this repository. Each sets up what it needs; nothing needs root.
.PHONY: demo test lint types bench docs requirements clean proto interop soak

PYTHON := $(shell deploy/find-python)
VENV := .venv
BIN := $(VENV)/bin
# Tests spend half of their time waiting for processes that they start.
WORKERS ?= 2

ifeq ($(PYTHON),)
$(error cellway needs Python 3.12 or newer: install python3.13 or python3.12 (for example "pyenv install 3.13") and try again)
endif

demo: $(VENV)/.base
	$(BIN)/python -m control_plane.demo $(if $(ONCE),--once)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m bench

# Everything at once for SOAK_MINUTES: load, changes and faults; looks for wrong cells and leaks.
# Then for as long sequences of changes, after each of which Envoy's dump is what was published.
soak: $(VENV)/.dev
	$(BIN)/python -m tests.e2e.soak --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.e2e.soak_changes --minutes $(or $(SOAK_MINUTES),2)

# GitLab's Go client and grpc-go's xDS client against this server; needs Go.
interop: $(VENV)/.dev
	$(BIN)/python -m tests.interop

# The Python modules of proto/*.proto; a test holds what is checked in against them.
proto: $(VENV)/.dev
	$(BIN)/python proto/generate.py

# The pages are Markdown, read where they stand; this makes the one that is generated.
docs: $(VENV)/.dev
	$(BIN)/python -m control_plane.api.openapi > docs/openapi.json

# Without a download address and with hashes: what is installed is what was tested.
requirements:
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header -c requirements/dev.txt requirements/base.in -o requirements/base.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: requirements/base.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	echo "$(CURDIR)" > $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/cellway.pth
	printf '#!/bin/sh\nexec "%s" -m control_plane.cli.main "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/cellway
	chmod +x $(BIN)/cellway
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@

clean:
	rm -rf $(VENV) .cellway .mypy_cache .ruff_cache .pytest_cache .hypothesis
