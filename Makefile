# Atalaia. `make` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PATHS  := schemas producers infra alerting streams sinks cli tests benchmarks
# Tests wait for real parts more than they compute: three processes, each with a stack of its own, a file at a time.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench chaos up down status clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) ## Install everything into .venv (Python 3.11+ is all it needs)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Atalaia needs Python 3.11 or later: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@echo "Installing into $(VENV): about 130 packages, 1.2 GB on disk, one or two minutes"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local]' --group dev
	@touch $@
	@echo "Installed."

demo: setup ## Start it all, replay real purchases, prove the numbers (EXIT=1 leaves when done)
	$(BIN)/atalaia demo $(if $(EXIT),--exit)

test: setup ## Every test, on real Kafka and ClickHouse's engine
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),$(PARALLEL))

check: setup ## Format, lint, types, layers, spelling
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy $(PATHS)
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: setup ## Speed and memory beside peers; writes build/bench.json
	$(BIN)/python -m benchmarks.run $(ARGS)

chaos: setup ## kill -9 under load, then prove that nothing is lost; writes build/chaos.json
	$(BIN)/python -m benchmarks.chaos $(ARGS)

up: setup ## Start the stack and watch it
	$(BIN)/atalaia up

down: ## Stop the stack
	$(BIN)/atalaia down

status: ## What runs, where, since when
	$(BIN)/atalaia status

clean: ## Remove the environment, build output and caches (not the stack's data: atalaia reset)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
