# make demo   100 synthetic polyp images with masks, and a contact sheet, in demo/
# make test   what has to pass before a change lands, with test-packaging
#
# make test-packaging    documentation and wheel, built and looked at
# make test-processors   make test's checks as other processors and numbers of threads would run them
# make test-slow         what takes more than some ten seconds a test
#
# Needs Python 3.11 or later with pip 22.3 or later, and the package index; everything goes into .venv.

PYTHON ?= python3
MODEL ?= 10001_FASTGAN_POLYP_W_MASKS
N ?= 100
OUT ?= demo

BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES = $(shell find medzoo registry -type f -not -name '*.pyc' 2>/dev/null)

PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
FAST = not slow and not packaging and not network and not gpu
# What other processors would do, of those that this one can stand in for, and numbers of threads.
SETTINGS = ONEDNN_MAX_CPU_ISA=AVX2 ONEDNN_MAX_CPU_ISA=AVX512_CORE ATEN_CPU_CAPABILITY=default \
  OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 OMP_NUM_THREADS=3

.PHONY: demo test test-packaging test-processors test-slow lint docs format clean

demo: .venv/user
	$(BIN)/medzoo generate $(MODEL) -n $(N) --out $(OUT) --grid --overwrite
	@echo "next: . .venv/bin/activate; medzoo list"

# A process a core with one thread each: the networks are small, and threads that wait cost more than they bring.
test: lint
	$(BIN)/medzoo check --all --offline --quiet
	OMP_NUM_THREADS=1 $(PYTEST) -m "$(FAST)"

# In one process, so that documentation and wheel are built once.
test-packaging: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "packaging and not slow and not network"

# The golden samples are compared under each setting too, to the tolerances that medzoo check states.
# Threads that wait sleep, for there may be more of them than cores.
test-processors: .venv/dev
	@failed=; for setting in $(SETTINGS); do \
	  echo "=== $$setting"; \
	  env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $$setting $(BIN)/medzoo check --all --offline --quiet || failed="$$failed $$setting"; \
	  env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $$setting $(PYTEST) -q -m "$(FAST)" || failed="$$failed $$setting"; \
	done; \
	[ -z "$$failed" ] || { echo "failed under:$$failed" >&2; exit 1; }

test-slow: .venv/dev
	OMP_NUM_THREADS=1 $(PYTEST) -m "slow and not packaging and not network and not gpu"

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/dev
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "docs: $(abspath docs/_build/html)/index.html"

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist docs/_build docs/models docs/architectures docs/cli.md docs/scores.md docs/samplers.inc .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage

# Made without ensurepip, which Debian keeps in a package of its own: the pip of PYTHON installs one inside.
.venv/base: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than Python 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' || \
	  { echo "$(PYTHON) has no pip, or one older than 22.3; on Debian: apt install python3-pip" >&2; exit 1; }
	@$(PYTHON) -c 'import venv' || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "installing into .venv; the first time takes minutes, for torch"
	rm -rf .venv
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt pip hatchling
	@touch $@

# As a user has it. Where a developer's installation is, that one follows the sources by itself.
.venv/user: .venv/base pyproject.toml $(SOURCES)
	@if [ -e .venv/dev ]; then $(MAKE) --no-print-directory .venv/dev; else $(PIP) --no-build-isolation . ; fi
	@touch $@

.venv/dev: .venv/base pyproject.toml
	$(PIP) --no-build-isolation --editable ".[dev,metrics]"
	@touch $@
