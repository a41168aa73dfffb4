# make help says what there is. Needs Python 3.11 or newer; all else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HTML := book/_build/html
NOTEBOOKS := $(wildcard book/*.ipynb)

# Two threads: as the numbers in the book were made, and no more than the machines of the tests have.
book test bench: export OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help book test lab app lecture student demo bench clean

CHAPTER ?= attention
BENCH ?= losses masking sampler speed gap_filling parts positions context token_sizes coupling attention_numbers explorer live_app

help: ## this list
	@echo "AtmoRep-lite"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
	@echo "Another Python than $(PYTHON): make PYTHON=/path/to/python3.11 book"

book: $(STAMP) ## run all chapters and build the book into book/_build/html
	@began=$$(date +%s); mkdir -p book/_build; \
	if [ -e book/_build/.began ] && \
	   [ -n "$$(find atmorep_lite data_samples constraints.txt -type f ! -name '*.pyc' -newer book/_build/.began 2>/dev/null | head -n 1)" ]; then \
	    echo "The library has changed: all chapters run again."; rm -rf book/_build/.jupyter_cache; \
	fi; \
	rm -rf $(HTML); touch book/_build/.began; \
	$(BIN)/jupyter-book build book/ --config jupyter_book.yml --all -W -n --keep-going || exit 1; \
	took=$$(( $$(date +%s) - began )); \
	echo "The book took $$((took / 60)) min $$((took % 60)) s. Open it: file://$(CURDIR)/$(HTML)/index.html"

test: $(STAMP) ## lint, types, tests of the library, the notebooks and the widgets
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests
ifneq ($(NOTEBOOKS),)
	@$(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg $(NOTEBOOKS)
endif

lab: $(STAMP) ## the book's chapters in JupyterLab
	@$(BIN)/jupyter lab book

app: $(STAMP) ## the lecturer's live app, in a browser on this machine
	@$(BIN)/atmorep-lite app

lecture: book ## slides of a chapter that need no network: make lecture CHAPTER=attention
	@$(BIN)/python scripts/chapter.py lecture book/$(CHAPTER).ipynb lecture/$(CHAPTER)

student: $(STAMP) ## a chapter without its solutions: make student CHAPTER=attention
	@$(BIN)/python scripts/chapter.py student book/$(CHAPTER).ipynb student/$(CHAPTER).ipynb

demo: $(STAMP) ## train a small AtmoRep on the shipped atmosphere, write tables and figures to demo/
	@$(BIN)/atmorep-lite demo

bench: $(STAMP) ## the tables of benchmarks/README.md; some of them: make bench BENCH="losses speed"
	@for name in $(BENCH); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean: ## remove what the other targets made, but not .venv
	@rm -rf book/_build demo lecture student screenshots .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null 2>&1 || \
	    { echo "There is no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$$("$(PYTHON)" --version) is too old; name Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV); this takes a few minutes the first time."
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	@touch $@
