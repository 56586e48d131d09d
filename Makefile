# Everything that a checkout needs: python3 (3.11 or newer, with its venv module) and make. `make help` lists the targets.
#
# AGENTS names the agents to install, "claude codex" by default; together they take about 700 MB.
# `AGENTS=` leaves them out; a later `make serve` without it installs them. Nothing is ever uninstalled.

PYTHON ?= python3
AGENTS ?= claude codex
ARGS ?=
WORKERS ?= 3
UV ?= uv
NPM ?= npm
REAL_AGENTS := opencode-ai@1.18.33 @google/gemini-cli@0.61.0 @qwen-code/qwen-code@0.24.4

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
CODE := $(wildcard actors transport storage bridgehub builderos tests bench)

# One stamp for each requirement file, newer than the file once it is installed.
stamps_of = $(1:%=$(STAMPS)/%)
TO_SERVE := $(call stamps_of,requirements.txt requirements-push.txt requirements-terminal.txt $(AGENTS:%=requirements-%.txt) project)
NODE_STAMP := node_modules/.installed
WEB_CODE := 'transport/web/**/*.{js,ts}' 'tests/web/**/*.js'
TO_WORK := $(call stamps_of,requirements.txt requirements-push.txt requirements-terminal.txt requirements-postgres.txt requirements-claude.txt requirements-codex.txt requirements-dev.txt project)

# Some images set it. Every program that a test starts would then be compiled again, and every test rewritten.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help serve install check test test-agents test-postgres lint format docs coverage bench bench-peers pictures torture web-load lock sbom audit audit-offline

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  Options of a command go through ARGS: make serve ARGS="--port 9000 --workspace ~/code/trip"'

serve: $(TO_SERVE) ## install what is missing, then start the server (AGENTS= without Claude and Codex)
	@exec $(BIN)/builderos serve $(ARGS)

install: $(TO_WORK) ## make .venv with everything, the test tools too

check: install ## lint, types and the fast tests, in about a minute
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -m "unit or actors" $(ARGS)

test: install lint ## lint, then all tests, in three processes (WORKERS=0: in one)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --durations 20 $(ARGS)

lint: install docs $(NODE_STAMP) ## check style, types, spelling and links, of the web client too
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE) & types=$$!; \
		{ grep -rlZ --include='*.py' -E '\<async (def|with|for)\>' $(CODE) | \
			xargs -0 -n 40 -P 2 $(BIN)/python -m tests.support.async_rules && \
		$(BIN)/codespell && \
		node_modules/.bin/prettier --log-level warn --check $(WEB_CODE) && \
		node_modules/.bin/tsc --project tsconfig.json && \
		node_modules/.bin/tsc --project tsconfig.worker.json; }; style=$$?; \
		wait $$types && exit $$style

format: install $(NODE_STAMP) ## format the code, wrap the pages
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)
	@node_modules/.bin/prettier --log-level warn --write $(WEB_CODE)
	@find docs *.md tests/README.md -name '*.md' -exec $(BIN)/python -m tests.support.wrap_markdown {} +

docs: install ## build the documentation site in build/site; a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

coverage: install ## how much the unit and actor tests run (ARGS="tests/storage": others)
	@mkdir -p build
	@$(BIN)/python -m coverage run -m pytest -q -n 0 $(or $(ARGS),-m "unit or actors")
	@$(BIN)/python -m coverage report

bench: install ## measure, with targets (ARGS="path --quick")
	@$(BIN)/python -m bench $(ARGS)

# Into build/ too. They run in a network that has nothing but loopback; it takes about ten minutes.
PEERS := opencode-ai@1.18.33 @twsxtd/hapi@0.30.7
PEERS_STAMP := build/peers/.installed-$(subst /,-,$(subst @,-,$(subst $() ,-,$(PEERS))))
$(PEERS_STAMP):
	@mkdir -p build/peers
	@$(NPM) install --no-audit --no-fund --no-progress --no-save --prefix build/peers $(PEERS)
	@touch $@

bench-peers: install $(PEERS_STAMP) ## measure other servers and this one side by side (500 MB in build/)
	@$(BIN)/python -m bench.peers $(ARGS)

# Into build/. Their install scripts only choose another build of the same program, so an npm that leaves them out will do.
REAL_STAMP := build/agents/.installed-$(subst /,-,$(subst @,-,$(subst $() ,-,$(REAL_AGENTS))))
$(REAL_STAMP):
	@mkdir -p build/agents
	@$(NPM) install --no-audit --no-fund --no-progress --no-save --prefix build/agents $(REAL_AGENTS)
	@touch $@

test-agents: install $(REAL_STAMP) ## run real agents of the Agent Client Protocol (600 MB in build/)
	@$(BIN)/python -m pytest -n 0 tests/real_agents/opencode.py tests/real_agents/opencode_server.py \
		tests/real_agents/others.py $(ARGS)

# It starts its own PostgreSQL in a temporary folder, as user postgres if it is root.
test-postgres: install ## test against PostgreSQL (Debian: apt install postgresql)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/postgres $(ARGS)

pictures: install ## draw the pictures of the terminal client in the docs again
	@PICTURES=1 $(BIN)/python -m pytest -q -n 0 tests/builderos/terminal_client/test_pictures.py

torture: install ## a thousand random kills (ARGS="--kills 50 --seed 7")
	@$(BIN)/python -m tests.torture $(ARGS)

web-load: install ## load the web client, with figures (ARGS="--only stream --seconds 10")
	@$(BIN)/python -m tests.web.load $(ARGS)


# One bill of materials for each set that is installed: the server alone, and with an agent. It needs no network.
sbom: $(call stamps_of,requirements-audit.txt) ## what a server is made of, as CycloneDX, in build/sbom*.json
	@mkdir -p build
	@for file in requirements requirements-push requirements-postgres requirements-terminal requirements-claude requirements-codex; do \
		$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
			--of JSON --output-file build/sbom$${file#requirements}.json $$file.txt || exit 1; \
	done
	@ls build/sbom*.json

# The first part needs no network: every pin has a hash and is above the holes that docs/internals/dependencies.md lists.
audit-offline: install
	@$(BIN)/python -m pytest --quiet tests/test_project.py
	@$(BIN)/python -m pip check

# Strict: what the index does not know is no pass.
audit: audit-offline sbom ## look for known holes in it; the last step asks the package indexes
	@for file in requirements*.txt; do \
		$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement $$file || exit 1; \
	done
	@$(NPM) audit --audit-level=high

# The pinned files are made from pyproject.toml: all of it first, so that they agree with each other. Hashes are of every
# file of a release: the wheels of the agents differ from platform to platform.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links pyproject.toml
lock: ## pin the requirements again; needs uv
	@mkdir -p build
	@echo 'setuptools>=80.9' > build/build.in
	@test -f build/all.txt || cat requirements*.txt > build/all.txt
	@$(COMPILE) build/build.in --all-extras $(ARGS) --output-file build/all.txt
	@$(COMPILE) --generate-hashes build/build.in --constraints build/all.txt > requirements.txt
	@for extra in push postgres terminal claude codex dev audit; do \
		$(COMPILE) --generate-hashes --extra $$extra --constraints build/all.txt > requirements-$$extra.txt || exit 1; \
	done

# `--clear` throws away what an interrupted attempt left; .made exists only once pip is there.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "python3 has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/requirements%txt: requirements%txt $(VENV)/.made
	@echo "Installing $<"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --requirement $<
	@touch $@

$(NODE_STAMP): package.json package-lock.json
	@command -v $(NPM) >/dev/null || { echo "npm is missing, which checks the web client; on Debian and Ubuntu: apt install npm" >&2; exit 1; }
	@$(NPM) ci --no-audit --no-fund --no-progress --ignore-scripts
	@touch $@

# Without build isolation: setuptools is pinned in requirements.txt, nothing else is fetched.
$(STAMPS)/project: pyproject.toml $(STAMPS)/requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@
