# Each target does all of its own set-up; the first one takes as long as the packages do.
.DEFAULT_GOAL := help
.PHONY: help demo test check lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

export OMP_NUM_THREADS ?= $(CORES)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TOKENIZERS_PARALLELISM ?= false

help:
	@echo "make demo    transfer a pretrained model to a real task, judge it, save it, use it"
	@echo "make test    run the tests"
	@echo "make check   ruff, ruff format, mypy, and the guards over the whole tree"
	@echo "make lock    bring requirements.lock in line with pyproject.toml; UPGRADE=1 takes the newest versions"
	@echo "make clean   remove the virtual environment and what tools have cached"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Graft needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which one to use: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 1; }
	@echo "setting up $(VENV): once, and again when requirements.lock or pyproject.toml change"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

demo: $(READY)
	$(BIN)/graft demo

test: export HF_HUB_OFFLINE = 1
test: $(READY)
	$(BIN)/python -m pytest

check: export HF_HUB_OFFLINE = 1
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/whole

# uv resolves for every platform at once, which pip cannot; it lives only as long as this recipe
lock:
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	    $(PYTHON) -m venv "$$tools" && "$$tools/bin/python" -m pip install --quiet uv && \
	    "$$tools/bin/uv" pip compile pyproject.toml --extra minilm --extra audio --extra keras --extra peft --extra tensorboard --group dev --universal --python-version 3.11 \
	        --generate-hashes --no-emit-index-url --no-annotate --no-header $(if $(UPGRADE),--upgrade) -o requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist src/*.egg-info
