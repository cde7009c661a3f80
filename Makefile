# Whatever is downloaded, built or cached stays in this folder: .venv, .cache and store.
# uv is taken from the PATH, or from .cache/uv-tool, where .ci/setup puts it.

.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
CACHE := $(CURDIR)/.cache

export PATH := $(PATH):$(CACHE)/uv-tool/bin
export UV_CACHE_DIR := $(CACHE)/uv
export UV_PYTHON_INSTALL_DIR := $(CACHE)/python
export PIP_CACHE_DIR := $(CACHE)/pip
export XDG_CACHE_HOME := $(CACHE)/xdg
export TORCH_HOME := $(CACHE)/torch
export TORCH_EXTENSIONS_DIR := $(CACHE)/torch-extensions
export TORCHINDUCTOR_CACHE_DIR := $(CACHE)/inductor
export TRITON_HOME := $(CACHE)/triton
export TRITON_CACHE_DIR := $(CACHE)/triton/cache
export CUDA_CACHE_PATH := $(CACHE)/cuda
export NUMBA_CACHE_DIR := $(CACHE)/numba
export MPLCONFIGDIR := $(CACHE)/matplotlib

.PHONY: help setup slurm demo test check chaos bench lock clean

help: ## list the targets
	@awk -F ' *:[^#]*## *' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: setup ## set up, then run the whole pipeline on the digits set, to a table
	$(PYTHON) launch/digits.py --executor local

test: slurm check ## set up, with Slurm if possible, then run the checks and all tests
	$(PYTHON) -m pytest

check: setup ## set up, then run the checks alone: lint, format, types
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

chaos: slurm ## set up, with Slurm, then let 200 faults loose on launches; SEED=N: that schedule alone
	$(if $(SEED),,$(PYTHON) -m pytest --long tests/cluster/test_fault_injectors.py tests/cluster/test_faults.py tests/cluster/test_time_limit.py)
	$(PYTHON) -m tests.cluster.chaos $(if $(SEED),--seed $(SEED))

bench: setup ## set up, then time what was made fast beside public baselines, to results/speed.csv; DATA=DIR: your images
	$(PYTHON) -m benchmarks.speed $(if $(DATA),--data "$(DATA)")

setup: ## make .venv hold what requirements.lock says
	@bash .ci/setup

slurm: setup ## also install what the Slurm tests need
	@bash .ci/setup slurm

lock: setup ## renew requirements.lock from pyproject.toml
	uv pip compile pyproject.toml --extra dev --extra build --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --quiet -o requirements.lock

clean: ## remove .venv, .cache and the store: everything that was made here
	rm -rf .venv .cache store *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
