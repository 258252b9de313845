# make help lists what there is. Everything Python lives in .venv; delete it, or run make clean-all, to start afresh.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTRAS := cuda,dev

# No test or script opens a window.
export MPLBACKEND ?= Agg
# The numerical libraries would otherwise start a thread per core for arrays too small to profit.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all docs lint format env wheel clean clean-all

help:  ## list the targets
	@echo "Usage: make TARGET [PYTHON=/path/to/python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

demo: $(INSTALLED)  ## train Yin-Yang for a few epochs, print the accuracy, draw the figure (minutes)
	@command -v g++ >/dev/null || { echo "make demo compiles its network: install a C++ compiler (apt-get install g++)"; exit 2; }
	$(BIN)/python scripts/train_yin_yang.py --quick

# one process for each core, which takes the next test when it is done with one
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

test: lint  ## lint, types, and the tests that together take minutes
	$(PYTEST)

test-all: lint $(VENV)/.docs  ## the same with the slow proofs: builds from copied projects, CUDA, training, packaging, the site
	$(PYTEST) --run-slow

# All is read again each time (-E): autosummary does not see modules that a saved environment has not.
# The examples are run for the gallery's figures where SNNMODELS_DOCS_RUN is 1
docs: $(VENV)/.docs  ## build the site into build/site/html, without a network; a warning is an error
	$(BIN)/python docs/site/stage.py build/site/source
	$(BIN)/python -m sphinx -E -c docs/site -b html -q -W --keep-going build/site/source build/site/html
	@echo "the site begins at build/site/html/index.html"

# what only the site needs
$(VENV)/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy snnmodels $(wildcard scripts/*.py benchmarks/*.py)

format: $(INSTALLED)  ## let ruff repair what it can
	$(BIN)/ruff check --fix .

env: $(INSTALLED)  ## only make the environment

# The environment is made again only when the declared dependencies change.
$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || { python=$$(.ci/find_python.sh) && echo "making $(VENV) with $$python" && "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing the package and its dependencies into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]"
	@touch $@

wheel: $(INSTALLED)  ## build the wheel and the source archive into dist/
	$(BIN)/python -m build

clean:  ## remove what builds and tests leave
	rm -rf build dist output .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find snnmodels tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean  ## the same, and the environment
	rm -rf $(VENV)
