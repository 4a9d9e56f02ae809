# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(RUN) -m pipelines.ingest --runner=DirectRunner
	@echo
	@echo "look at:  data/sample/pairs/00000.tar      pictures, captions and what is known of them"
	@echo "          data/sample/pairs/00000.parquet  the ledger: a row for every link, kept or not, and why"
	@echo "          data/sample/pairs/manifest.json  what it was made from, and its sums"
	@echo "check it: $(RUN) -m pipelines.audit data/sample/pairs"

test: $(VENV)/installed-dev lint
	$(RUN) -m pytest

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build data .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
