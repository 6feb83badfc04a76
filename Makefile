# ridestream. `make` alone lists what can be made. Needs Python 3.11 to 3.13, make and a package index.

.DEFAULT_GOAL := help
.PHONY: help run test chaos scenarios mutations bench lock docs clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
#: Passed on to the command of the target: make run ARGS="--drivers 500", make test ARGS="-k cover".
ARGS ?=
#: Tests that wait (a replay at 600x is mostly waiting) overlap with those that compute. A file stays on one worker: its
#: module's fixtures, a whole replayed day among them, are made once. (pytest-xdist 3.8 ignores its groups on pytest 9.2.)
WORKERS ?= 3

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.installed ## Start the pipeline and 200 simulated drivers, and print the address of the live map
	@exec $(BIN)/ridestream run $(ARGS)

test: $(VENV)/dev.installed ## Lint, type-check and test everything that needs no system package
	@exec $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

chaos: $(VENV)/dev.installed ## Kill services, cut off riders and slow their phones down in the middle of their trips, for minutes
	@exec $(BIN)/python -m pytest -n 0 -m chaos $(ARGS)

scenarios: $(VENV)/dev.installed ## Play the shipped scenarios but the largest, on the embedded engines, and judge what riders were shown
	@exec $(BIN)/python -m pytest -n 0 -m scenarios $(ARGS)

mutations: $(VENV)/dev.installed ## Break the system on purpose, and see that the oracle names what is broken
	@exec $(BIN)/python -m tests.mutations $(ARGS)

bench: $(VENV)/dev.installed ## Run the benchmarks of docs/benchmarks.md
	@exec $(BIN)/python -m tests.bench $(ARGS)

lock: $(VENV)/dev.installed ## Solve the dependencies again (UPGRADE=--upgrade for newer versions)
	@$(COMPILE) --extra local --extra report --extra dev --output-file requirements-dev.lock
	@$(COMPILE) --extra local --extra report --constraint requirements-dev.lock --output-file requirements.lock

docs: $(VENV)/dev.installed ## Write docs/configuration.md from the settings
	@$(BIN)/ridestream config > docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md

clean: ## Remove the environment, caches and logs
	rm -rf $(VENV) .ridestream .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One solution for every platform and Python we support, without the address of the index it came from.
# --no-annotate: who needs what is pyproject.toml's to say, and it keeps a change of the lock small.
COMPILE = $(BIN)/uv pip compile --quiet pyproject.toml --group build --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--custom-compile-command "make lock" $(UPGRADE)

$(VENV)/run.installed: requirements.lock
	@$(MAKE_VENV)
	@$(call INSTALL,requirements.lock)
	@touch $@

# It holds all of requirements.lock too, in the same versions.
$(VENV)/dev.installed: requirements-dev.lock
	@$(MAKE_VENV)
	@$(call INSTALL,requirements-dev.lock)
	@touch $@ $(VENV)/run.installed

# hatchling is in the lock: building the project fetches nothing more.
INSTALL = echo "Installing $(1) into $(VENV) (only when it changed) ..." && \
	$(PIP) --require-hashes -r $(1) && $(PIP) --no-deps --no-build-isolation --editable .

# Take the first interpreter that really runs, is in range and can make environments: a version manager's shim may do
# nothing but complain, and Debian's python3 without python3-venv has no ensurepip.
MAKE_VENV = $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
				>/dev/null 2>&1; then \
			echo "Creating $(VENV) with $$("$$python" --version) ($$python) ..."; \
			exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "make: no Python 3.11, 3.12 or 3.13 that can create environments found (tried:" \
		"$(or $(PYTHON),python3.13 python3.12 python3.11 python3)). Install one (on Debian and Ubuntu also" \
		"python3-venv), or say: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
