# Everything a person does with etar. DIR is the stack's folder; ports and other settings are variables of .env.example,
# given in the environment: ETAR_PORT_OFFSET=1000 make up DIR=/tmp/second

DIR ?= .etar
ETAR := .venv/bin/etar
PYTHON := .venv/bin/python
PACKAGES := plugins/etar producer connect dashboard stack spark_apps streams cli
SHELL := /bin/bash
# make up SINK=connect EXECUTOR=celery SPARK=standalone BROKERS=3: a stack of other parts (docs/operations.md)
SHAPE := $(foreach part,SINK EXECUTOR SPARK BROKERS,$(if $($(part)),ETAR_STACK_$(part)=$($(part))))
# make up STREAMS="user_interactions payments", or STREAMS=all (streams/README.md)
ON := $(if $(STREAMS),ETAR_STREAMS="$(STREAMS)")

# Without its cache Python compiles Airflow anew for each process: eight seconds of a core instead of four.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: bench browser-tools help setup setup-dev up demo down status clean secrets test test-long test-unit test-mutants test-integration test-browser test-e2e chaos lint compose-check format lock reference docs docs-serve

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: ## make .venv and .build from the locks; nothing to do when they are current
	@env $(SHAPE) stack/setup.sh

up: setup ## start everything with demo traffic; prints each minute's report; Ctrl-C stops
	@exec env $(SHAPE) $(ON) $(ETAR) up --dir "$(DIR)"

demo: setup ## finite run: three minutes of events, their reports and the account that proves them
	@exec $(ETAR) demo --dir "$(DIR)"

down: ## stop the stack; its data stays
	@$(ETAR) down --dir "$(DIR)"

status: ## every part: state, process, memory, address
	@$(ETAR) status --dir "$(DIR)"

clean: ## stop the stack and delete its data, logs and secrets (asks first)
	@$(ETAR) clean --dir "$(DIR)"

secrets: ## the containers' secrets, one file each in secrets/; what is there stays
	@python3 -m stack.container_secrets secrets

setup-dev:
	@stack/setup.sh dev

test: browser-tools setup-dev ## everything that holds at each change: checks and tests, with one summary at the end
	@exec $(PYTHON) -m tests.lanes

test-long: setup-dev ## what takes too long for each change: three seeds of chaos, MinIO, the Dockerfiles' RUN lines
	@stack/setup.sh minio
	@exec $(PYTHON) -m tests.lanes long

browser-tools:
	@for tool in chromium nginx; do PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || { \
	  echo "etar: $$tool is missing; the dashboard's tests need it (Debian 12: apt-get install --no-install-recommends chromium nginx-light)" >&2; \
	  exit 1; }; done

test-unit: setup-dev ## tests that start no process
	$(PYTHON) -m pytest tests/unit --numprocesses 2

test-mutants: setup-dev ## mutants of what guards the account, where it changed: make test-mutants SINCE=HEAD~3, or ALL=1
	@exec nice $(PYTHON) -m tests.mutants $(MODULES) $(if $(ALL),--all,$(if $(SINCE),--since $(SINCE)))

test-integration: setup-dev ## tests of one real part each
	$(PYTHON) -m pytest tests/integration

test-browser: browser-tools setup-dev ## tests of the dashboard in Chromium
	$(PYTHON) -m pytest tests/browser

test-e2e: setup-dev ## tests of the whole stack
	$(PYTHON) -m pytest tests/e2e

chaos: setup-dev ## kill, pause and cut parts at random under load: make chaos SEED=7 MINUTES=30 RATE=2000
	@exec $(PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),3) --rate $(or $(RATE),200) \
	  $(if $(ONLY),--only $(ONLY))

bench: setup-dev ## what is fast and what it costs, against the build of before: make bench ONLY="extract queries" JSON=rows.json
	@exec $(PYTHON) -m bench $(ONLY) $(if $(JSON),--json "$(JSON)")

lint: setup-dev ## format, lint, types, imports and shell
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy $(PACKAGES) dags bench docker handbook tests
	.venv/bin/lint-imports --no-cache
	.venv/bin/shellcheck stack/setup.sh .ci/run docker/*/*.sh

compose-check: setup-dev ## docker-compose.yml, .env.example and the Dockerfiles, without a container engine
	@$(PYTHON) -m stack.compose_check

docs: setup-dev ## the docs as a site in .build/site, which loads nothing from elsewhere; a broken link fails
	@$(PYTHON) -m handbook.site .build/site

docs-serve: docs ## the same, with search, on http://127.0.0.1:8600: make docs-serve PORT=8601
	@echo "the docs are on http://127.0.0.1:$(or $(PORT),8600); Ctrl-C stops"
	@exec $(PYTHON) -m http.server --bind 127.0.0.1 --directory .build/site $(or $(PORT),8600)

reference: setup-dev ## write the pages of docs/ that are made from the code: settings, commands, API, list of decisions
	$(PYTHON) -m stack.settings_table
	$(PYTHON) -m handbook.pages

format: setup-dev ## put the code in the project's format
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: ## compile requirements*.in into the pinned, hashed locks
	for name in requirements requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' $$name.in --output-file $$name.txt || exit 1; \
	done
