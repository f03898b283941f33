# Two commands: `make demo` and `make test`. Each does all its set-up; `make venv` is a no-op when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# A lock is complete, so nothing is resolved: pip would look at releases that are newer than the lock.
INSTALL := $(BIN)/python -m pip install --quiet --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help venv kernels demo serve test quick faults lint format coverage bench bench-packages fault-packages docs image lock clean FORCE

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

venv: $(VENV)/.ready ## Set up .venv from the lock; PYTHON=python3.13 chooses the interpreter.

# The stamp holds the interpreter, and is newer than everything that decides what the environment holds. An interpreter
# that was asked for by name and is another one makes the environment anew.
ifneq ($(origin PYTHON),file)
INTERPRETER := $(shell $(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)')
ifneq ($(INTERPRETER),$(shell cat $(VENV)/.ready 2>/dev/null))
$(VENV)/.ready: FORCE
ANEW := --clear
endif
endif
$(VENV)/.ready: locks/dev.txt pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed: make PYTHON=...')"
	$(PYTHON) -m venv $(ANEW) $(VENV)
	$(INSTALL) -r locks/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -e clients/python
	$(BIN)/python -m pip check
	$(BIN)/python -c 'import sys; print(sys.version, sys.base_prefix)' > $@

# Once for all processes that start at the same time: each would compile them for itself.
kernels: venv ## Compile the kernels for this machine, which takes about a minute the first time.
	@$(BIN)/python -m dropout_service.kernels

demo: kernels ## Start the service, train on real data without and with dropout, predict with uncertainty.
	$(BIN)/python examples/demo.py

serve: kernels ## Run the service on http://127.0.0.1:8000 with its data in ./data.
	$(BIN)/dropout-service serve --data-dir data

test: kernels ## Run all tests but those of `make faults` (under ten minutes on two cores).
	$(PYTEST) -n 2 --dist worksteal

quick: kernels ## Run the unit tests but the slow ones.
	$(PYTEST) tests/unit tests/architecture -m "not slow" -n 2 --dist worksteal

faults: kernels fault-packages ## Run the suite of real faults and print its figures (SEED=n draws the same faults again).
	$(PYTEST) tests/faults $(if $(SEED),--fault-seed $(SEED))
	$(BIN)/python benchmarks/job_store.py --jobs 100 --queued 2000

# Its shared library alone is used, to give a process a clock of its own: what tests it would do are skipped without it.
fault-packages: venv
	$(BIN)/python -c "import importlib.util as u, sys; sys.exit(u.find_spec('libfaketime') is None)" || \
	  $(BIN)/python -m pip install --quiet libfaketime==3.0.1

lint: venv ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: venv ## Format the code and apply safe fixes.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: kernels ## Run the tests with branch coverage and print what is not covered.
	$(BIN)/coverage erase
	$(PYTEST) -n 2 --dist worksteal --cov --cov-report=
	$(BIN)/coverage report

# libxsmm is a peer too. It is a package of the system (Debian: libxsmm-dev); without it that program says so and ends.
bench: venv bench-packages ## Print the benchmark ratios, side by side with PyTorch, NumPy and libxsmm.
	$(BIN)/python benchmarks/dropout_forward.py
	$(BIN)/python benchmarks/libxsmm_dropout.py
	$(BIN)/python benchmarks/training_steps.py
	$(BIN)/python benchmarks/http_forward.py
	$(BIN)/python benchmarks/http_small.py
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/frameworks.py
	$(BIN)/python benchmarks/job_overhead.py
	$(BIN)/python benchmarks/job_store.py
	$(BIN)/python benchmarks/cancel_latency.py

# PyTorch is an oracle of tests and a peer of benchmarks, never a dependency: tests that need it are skipped without it.
bench-packages: venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet torch==2.13.0

docs: venv ## Draw the pictures and write the pages that are made from the table of variants.
	$(BIN)/python docs/draw_masks.py
	$(BIN)/python docs/describe_variants.py

image: ## Build the Docker image dropout-service:latest.
	docker build --tag dropout-service:latest .

lock: venv ## Resolve the dependencies anew into locks/ (needs uv).
	uv pip compile pyproject.toml -c locks/constraints.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet -o locks/service.txt
	uv pip compile pyproject.toml clients/python/pyproject.toml --extra cli --group dev -c locks/service.txt \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o locks/dev.txt
	uv pip compile locks/build.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --quiet -o locks/build.txt

clean: ## Remove the environment and everything the tools left behind.
	rm -rf $(VENV) .demo .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov
