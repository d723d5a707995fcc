# Everything a user or a developer runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LAUNCHERS := $(VENV)/.launchers
PEERS := $(VENV)/.peers
ARGS ?=
RUN ?= latest
RUNS ?=

.DEFAULT_GOAL := help
.PHONY: help setup launchers train hpo report hpo-report compare test check format bench bench-quick bench-parts bench-width ui lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is older or missing: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

launchers: $(LAUNCHERS) ## Add the launchers for Ray and Slurm, and with them their tests

$(LAUNCHERS): $(STAMP) requirements-launchers.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --requirement requirements-launchers.lock
	@touch $@

$(PEERS): $(LAUNCHERS) requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --requirement requirements-bench.lock
	@touch $@

train: $(STAMP) ## Train the default network on IBM's daily bars (ARGS="model.learning_rate=0.005")
	@$(BIN)/python -m tradingbot_exp.train $(ARGS)

test: $(STAMP) ## Run every test (ARGS="-k data")
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

hpo: $(STAMP) ## Search hyperparameters on IBM's daily bars (ARGS="hpo.num_trials=50")
	@$(BIN)/python -m tradingbot_exp.train --multirun $(ARGS)

report: $(STAMP) ## Write the report of a training run (RUN=latest, or an id)
	@$(BIN)/python -m tradingbot_exp report training $(RUN) $(ARGS)

hpo-report: $(STAMP) ## Write the report of a study (RUN=latest, or an id)
	@$(BIN)/python -m tradingbot_exp report hpo $(RUN) $(ARGS)

compare: $(STAMP) ## Write the report of several runs side by side (RUNS="A B")
	@$(BIN)/python -m tradingbot_exp report compare $(RUNS) $(ARGS)

check: $(STAMP) ## Lint, format, type and layer checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest -q tests/unit/test_layers.py

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: reference
reference: $(STAMP) ## Renew docs/configuration.md after a change of the schemas or of conf/
	$(BIN)/python scripts/make_reference.py

bench: $(PEERS) ## Measure studies and runs against Optuna, the plain sweeper, Ray Tune and Lightning (20 minutes)
	@$(BIN)/python scripts/bench $(ARGS)

bench-quick: $(PEERS) ## The same with 12 trials and one round (three minutes)
	@$(BIN)/python scripts/bench --quick $(ARGS)

bench-parts: $(STAMP) ## Measure the reading of files, a panel, networks at once, the training loop, tracking, a trial's cost and reports, each by itself
	@$(BIN)/python scripts/bench_files.py
	@$(BIN)/python scripts/bench_panel.py
	@$(BIN)/python scripts/bench_networks.py
	@$(BIN)/python scripts/bench_training.py
	@$(BIN)/python scripts/bench_tracking.py
	@$(BIN)/python scripts/bench_study.py
	@$(BIN)/python scripts/bench_reports.py

bench-width: $(STAMP) ## Measure the value that a study finds by the trials it asks for at once (half an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/bench_width.py $(ARGS)

ui: $(STAMP) ## Open MLflow on the runs made here, http://127.0.0.1:5000
	@$(BIN)/mlflow ui $(ARGS)

lock: $(STAMP) ## Pin the newest dependencies that pyproject.toml admits (torch stays as pinned)
	$(BIN)/python scripts/lock.py

clean: ## Remove the environment and caches; runs and reports stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
