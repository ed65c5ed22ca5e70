# The contributor's and the newcomer's commands. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := $(VENV)-tools
ARGS   ?=
# One process of tests more than there are cores: many tests wait for a server or a disk.
TESTS_AT_ONCE ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: help demo test check lint format types security audit sbom dashboards train wheel deb man clean

help: ## list these commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Merkwacht needs Python 3.11 or newer; set PYTHON=/path/to/it")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[charts]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed ## replay a week of an invented brand through the real daemon (ARGS=--exit to end by itself)
	@$(BIN)/merkwacht demo $(ARGS)

test: $(VENV)/.installed-dev ## run the whole suite (ARGS are passed to pytest)
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types security test ## everything that must be green before a change lands

lint: $(VENV)/.installed-dev ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dashboards: $(VENV)/.installed-dev ## write the Grafana dashboards anew (ARGS=--check to compare only)
	$(BIN)/python deploy/grafana/dashboards.py $(ARGS)

types: $(VENV)/.installed-dev ## strict type check
	$(BIN)/mypy

security: $(VENV)/.installed-dev ## look for insecure code (bandit; the rest of its rules are in `lint`)
	@printf '%s\n' monitor classifiers connectors 'alerts deploy .ci' | \
	  xargs -P 2 -L 1 $(BIN)/bandit --quiet --configfile pyproject.toml --recursive

$(TOOLS)/.installed: .ci/tools.txt | $(BIN)/python
	$(BIN)/python -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement .ci/tools.txt
	@touch $@

audit: $(VENV)/.installed $(TOOLS)/.installed ## ask for known vulnerabilities of what is installed (needs the network)
	@$(TOOLS)/bin/python .ci/audit.py $(wildcard $(VENV)/lib/python3*/site-packages)

sbom: $(TOOLS)/.installed ## list what an installation consists of, as CycloneDX, in dist/
	@rm -rf build/sbom
	@$(BIN)/python -m venv --without-pip build/sbom
	@$(BIN)/python -m pip --python build/sbom/bin/python install --quiet --disable-pip-version-check .
	@$(TOOLS)/bin/python .ci/sbom.py build/sbom dist

wheel: $(BIN)/python ## build dist/merkwacht-….whl, for pip and pipx
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

deb: ## build dist/merkwacht_….deb for this Debian release (ARGS=--help tells how else)
	/usr/bin/python3 deploy/debian/build.py $(ARGS)

man: $(VENV)/.installed ## write the manual page to build/merkwacht.1; read it with: man -l build/merkwacht.1
	@mkdir -p build
	$(BIN)/merkwacht manual > build/merkwacht.1

clean: ## remove the virtual environments, caches and what was built
	rm -rf $(VENV) $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo-output
