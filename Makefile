# The commands of this repository. Each installs what it needs into .venv; none needs root.
# `make help` lists them.
.PHONY: help demo test lint types bench docs literals requirements clean proto interop soak stopwatch audit sbom

PYTHON := $(shell deploy/find-python)
VENV := .venv
BIN := $(VENV)/bin
# How many tests run at once: half of their time they wait for processes that they start.
WORKERS ?= 2
# What `make soak` runs once more with the edge map: tests that don't ask which tier has decided.
WITH_MAP := $(patsubst %,tests/e2e/test_%.py,every_ruleset many_cells faults hosts spellings gitlab_words \
  odd_requests internal_headers endpoint_changes empty_topology edge_admission wait retries moves \
  misdirected rule_changes restarts classifier_port replicas)
.DEFAULT_GOAL := demo

ifeq ($(PYTHON),)
$(error cellway needs Python 3.12 or newer: install python3.13 or python3.12 (for example "pyenv install 3.13") and try again)
endif

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.base ## run the whole system here and send it requests; ONCE=1: stop after them
	$(BIN)/python -m control_plane.demo $(if $(ONCE),--once)

test: $(VENV)/.dev ## run all tests; ARGS="tests/xds -x": some of them; WORKERS: how many at once
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.dev ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## check types
	$(BIN)/mypy

bench: $(VENV)/.dev ## run all benchmarks
	$(BIN)/python -m bench

# Run load, changes and faults at once for SOAK_MINUTES, and look for wrong cells and leaks. Then, for
# as long again, make changes and compare Envoy's dump with what was published after each. Then, for as
# long again, compare the edge cache's answers with the evaluator's under random rules. Then, for as
# long again, press Ctrl-C at random moments. Then run each benchmark beside busy programs. Then, for as
# long again, compare programs with the evaluator; compare automata with RE2 and run malformed ones, under
# sanitizers; run the edge module's table and stream reader under sanitizers. In between, visit every
# interleaving of a larger model of the edge map. Then run tests of the system with the edge map in every
# Envoy.
soak: $(VENV)/.dev ## run load, changes and faults for SOAK_MINUTES (2), then changes and random rules
	$(BIN)/python -m tests.e2e.soak --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.e2e.soak_changes --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.owners.map_model
	$(BIN)/python -m tests.envoy.cache_oracle --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.cli.ctrl_c --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.bench.busy
	$(BIN)/python -m tests.compiler.programs.soak --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.compiler.programs.fuzz --minutes 1
	$(BIN)/python -m tests.compiler.automata.soak --minutes $(or $(SOAK_MINUTES),2)
	$(BIN)/python -m tests.edge_module.soak --minutes $(or $(SOAK_MINUTES),2)
	CELLWAY_TEST_EDGE_MAP=1 $(BIN)/python -m pytest -q -n $(WORKERS) $(WITH_MAP)

stopwatch: $(VENV)/.dev ## time the way from the wheel to a request on a second machine; needs namespaces
	$(BIN)/python -m tests.install.stopwatch

interop: $(VENV)/.dev ## run GitLab's Go client and grpc-go's xDS client against the server; needs Go
	$(BIN)/python -m tests.interop

# A test compares the generated modules with the sources.
proto: $(VENV)/.dev ## generate the Python modules of proto/*.proto
	$(BIN)/python proto/generate.py

# All other pages are Markdown and need no build.
docs: $(VENV)/.dev ## generate docs/openapi.json
	$(BIN)/python -m control_plane.api.openapi > docs/openapi.json

# With hashes, what is installed is what was tested; without index addresses, any index will do.
# Words that an earlier table had stay reserved: to drop one, take its line out of the file.
literals: $(VENV)/.base ## keep names off the pages of ROUTES (GitLab's gitlab_routes.json)
	$(BIN)/cellway rules reserve rulesets/gitlab.json --routes rulesets/gitlab_routes.tsv $(addprefix --routes ,$(ROUTES)) --save rulesets/gitlab_routes.tsv

requirements: ## pin the dependencies of requirements/*.in with hashes
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header -c requirements/dev.txt requirements/base.in -o requirements/base.txt
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header requirements/audit.in -o requirements/audit.txt

# Without a network, it uses the extract of advisories that is checked in, and says of which date.
audit: $(VENV)/.audit ## compare the pinned packages with known vulnerabilities
	$(VENV)/audit/bin/python requirements/audit.py

sbom: $(VENV)/.audit ## write dist/sbom.cdx.json: what a running cellway is made of (CycloneDX)
	mkdir -p dist
	$(VENV)/audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate --of JSON -o dist/sbom.cdx.json requirements/base.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: requirements/base.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	echo "$(CURDIR)" > $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/cellway.pth
	printf '#!/bin/sh\nexec "%s" -m control_plane.cli "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/cellway
	chmod +x $(BIN)/cellway
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@

$(VENV)/.audit: requirements/audit.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@

clean: ## remove .venv, caches and the data of a local run
	rm -rf $(VENV) .cellway .mypy_cache .ruff_cache .pytest_cache .hypothesis
