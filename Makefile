# uv is used from the PATH, or put into this checkout when it is missing; nothing is installed elsewhere.
UV_VERSION := 0.13.8
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --quiet

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.tools/bin/uv:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "DevFlow needs Python 3.11 or newer; python3 is $$(python3 --version)." >&2; exit 1; }
	@echo "Putting uv $(UV_VERSION) into .tools (only here) …"
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: install
install: $(filter .tools/bin/uv,$(UV)) ## install everything into .venv
	@$(UV) sync --frozen --quiet

.PHONY: demo
demo: install ## the main job, end to end, without a key
	@$(RUN) devflow demo

.PHONY: check
check: install ## format, lint, types, direction of imports, house rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) pyright
	$(RUN) lint-imports
	$(RUN) pytest tests/house -q -p no:cacheprovider

.PHONY: check-fast
check-fast: install ## the same without types: under 10 seconds; what the commit hook runs
	@$(RUN) ruff format --check --quiet .
	@$(RUN) ruff check --quiet .
	@$(RUN) lint-imports --no-logo > .import_linter_cache/said 2>&1 || { cat .import_linter_cache/said; exit 1; }
	@$(RUN) pytest tests/house -q -p no:cacheprovider -p no:xdist

.PHONY: hooks
hooks: ## have git run `make check-fast` before each commit in this checkout
	@git config core.hooksPath .githooks
	@echo "git runs .githooks/pre-commit from now on; undo: git config --unset core.hooksPath"

# Half of what door tests do is wait for processes, so that four fill two cores.
.PHONY: test
test: install ## the test suite; 300 examples a law (house rules are in `make check`)
	$(RUN) pytest -n 4 -m "not clients and not extensions and not newcomer" --ignore=tests/house -q

# A tracer doubles the time of laws, so it watches a run of its own, with examples that stay the same.
.PHONY: coverage
coverage: install ## branches that the suite reaches: all of core, 90 % of the workspace
	$(RUN) coverage erase
	$(RUN) pytest -n 4 --hypothesis-profile traced --cov --cov-report= -m "not clients and not extensions and not newcomer" --ignore=tests/house -q
	$(RUN) coverage report --fail-under=90
	$(RUN) coverage report --fail-under=100 --include='packages/core/*'

.PHONY: test-laws
test-laws: install ## the laws again, with thousands of examples each
	$(RUN) pytest -n 2 -m laws --hypothesis-profile laws --timeout 1200 -q
	$(RUN) pytest -n 2 -m extensions --timeout 1200 -q tests/integration

# Real clients, at the versions of tests/clients/pins, in a folder that git ignores.
.PHONY: clients
clients: install ## install the real clients of the tests into .clients; no install script runs
	@UV=$(abspath $(UV)) $(RUN) python tests/clients/install.py

.PHONY: clients-update
clients-update: install ## pin the newest version of every client, and say what moved
	@UV=$(abspath $(UV)) $(RUN) python tests/clients/install.py --update
	@$(RUN) python docs/build.py

# What a program has played is judged by several tests, in the worker that has played it.
.PHONY: test-clients
test-clients: clients ## real clients and SDKs against what we write and serve
	$(RUN) pytest -n 2 --dist loadgroup -m clients tests/clients -q

.PHONY: test-newcomer
test-newcomer: install ## the wheels in an empty home: every command of the first pages, also wrongly
	@UV=$(abspath $(UV)) $(RUN) pytest -n 2 -m newcomer tests/newcomer -q

.PHONY: fix
fix: install ## format and mend what can be mended
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.PHONY: docs
docs: install ## write the reference pages that are made from the code
	@$(RUN) python docs/build.py
	@$(RUN) python tests/house/code_map.py --write

.PHONY: bench
bench: install ## measure everything; PEERS=1 beside the peers, QUICK=1 for a look
	$(RUN) python benchmarks/run.py $(if $(PEERS),--peers) $(if $(QUICK),--quick) $(SUITES)
