# Everything runs in .venv, which the first target makes and later ones reuse. Running data lies in var/.
# Variables: PYTHON (3.11 or newer), PIP_ARGS (more options for pip), ARGS (for the command: make test ARGS="tests/unit -x"),
# TORCH_INDEX (one more package index for the CPU build of torch, as PyTorch's install page names it; a folder with the wheel will do).

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SETUP := .venv/.installed
EXTRAS := api,worker,flower,embedded,dev
TORCH := $(shell grep '^torch==' constraints.txt)
# Linux without an NVIDIA driver (WSL has its own) gets the CPU build of torch: the set-up is 2 GB then, and 5.8 GB with CUDA.
DRIVER := $(wildcard /proc/driver/nvidia/version /dev/nvidiactl /dev/nvidia0 /usr/lib/wsl/lib/libcuda.so*)
WANTS_CPU := $(if $(DRIVER),,$(filter Linux,$(shell uname -s)))
CPU_TORCH = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(PIP_ARGS) \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)+cpu'
# Some images set it, and each of the many processes of `test` and `up` would compile again whatever it imports.
unexport PYTHONDONTWRITEBYTECODE
PACKAGES := api cli db lab migrations shared tests worker

.DEFAULT_GOAL := help
.PHONY: help demo chaos up test check coverage format bench audit lock clean
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(SETUP)  ## prompts become videos: everything started, watched and stopped again
	$(BIN)/chai demo --model rich $(ARGS)

chaos: $(SETUP)  ## attack a service of its own and check the rules; ARGS="--minutes 30 --seed 7"
	$(BIN)/chai lab chaos $(ARGS)

up: $(SETUP)  ## run the service until Ctrl-C: Postgres, Redis, API, relay, worker, Flower
	$(BIN)/chai up $(ARGS)

# One process a core and two more that work while others wait, eight at most: for each second that a test computes it waits
# for another. Each has servers of its own, 1 to 2 GB with what it starts, and takes a file at a time, one that waits and one
# that computes in turn (`conftest.py`). PARALLEL= runs one after the other.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PARALLEL ?= -n $(shell echo $$(($(CORES) < 6 ? $(CORES) + 2 : 8))) --dist loadfile --no-loadscope-reorder

test: $(SETUP)  ## run the tests against real services; ARGS="tests/unit -x", PARALLEL= for one process
	$(BIN)/pytest $(PARALLEL) $(ARGS)

check: $(SETUP)  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(SETUP)  ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(SETUP)  ## run the tests and say which lines they never reach
	$(BIN)/pytest --cov --cov-report=term:skip-covered --cov-report=html:var/coverage $(ARGS)

bench: $(SETUP)  ## print measurements
	$(BIN)/pytest -m bench -s tests/benchmarks $(ARGS)

# In an environment of its own: its dependencies are none of ours. Fails, too, for what could not be looked up.
audit:  ## compare the tested versions with the advisories that PyPI knows
	@test -x var/audit/bin/pip-audit || { $(PYTHON) -m venv var/audit && var/audit/bin/pip install --quiet $(PIP_ARGS) pip-audit; }
	var/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict $(ARGS)

lock: $(SETUP)  ## write the versions in .venv to constraints.txt
	{ echo '# The exact versions that are tested; `make lock` writes this file from .venv.'; \
	  echo 'async-timeout==5.0.1  # of redis, up to Python 3.11.2'; \
	  $(BIN)/pip freeze --exclude-editable --exclude async-timeout | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt
	touch $(SETUP)

clean:  ## remove caches and build outputs; .venv/ and var/ stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) -name __pycache__ -prune -exec rm -rf {} +

# torch stands in the command itself: pip then keeps to one build of it, whatever else asks for torch. The CPU build comes
# first and alone, from the indexes that pip is configured for where they have it: a build that is there is kept.
$(SETUP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or set PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || $(MAKE) --no-print-directory .venv-without-ensurepip
	$(if $(WANTS_CPU),@$(CPU_TORCH) 2>/dev/null || \
		echo "pip's indexes have no CPU build of torch: taking the one for CUDA (5.8 GB in all, not 2); TORCH_INDEX=URL names another index")
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt $(TORCH) -e '.[$(EXTRAS)]'
	@touch $@

# Debian's python3 has no ensurepip until python3-venv is installed; its pip can fill the environment from outside.
.PHONY: .venv-without-ensurepip
.venv-without-ensurepip:
	$(PYTHON) -m venv --clear --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet pip
