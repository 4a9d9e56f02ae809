# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# What tells copies: the one that comes with the package. What turns pictures into codes: the one that the demo trains.
DETECTOR ?= builtin
DVAE ?= data/sample/dvae
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo wheel docs test check torture lint flink-test flink-test-small clean

demo: $(VENV)/installed
	@echo "1 of 8: collect image-caption pairs from a small web that is drawn and served here"
	$(RUN) -m pipelines.ingest --runner=DirectRunner
	@echo "2 of 8: take out what is a copy of a picture of the validation set"
	$(RUN) -m pipelines.dedup --detector $(DETECTOR)
	@echo "3 of 8: learn a vocabulary from the captions that are left"
	$(RUN) -m pipelines.vocab
	@echo "4 of 8: train a tiny dVAE on the pictures that are left, for a minute or two, with a head start"
	$(RUN) -m dalle.train_dvae
	@echo "5 of 8: turn captions into tokens and pictures into codes, with what was just learnt"
	$(RUN) -m pipelines.encode --dvae $(DVAE)
	@echo "6 of 8: check what came out, and draw pictures beside what their codes stand for"
	$(RUN) -m pipelines.audit --dvae $(DVAE)
	@echo "7 of 8: train a transformer of four layers on tokens and codes; its loss must fall"
	$(RUN) -m dalle.train_prior
	@echo "8 of 8: draw pictures of captions; after so short a training they are noise"
	$(RUN) -m dalle.generate "a red kite above a house" "a blue star in the snow" "two apples" "a boat at sunset" \
		--prior data/sample/prior --dvae $(DVAE) --samples 8 --output_folder data/sample/drawn --incremental_mode overwrite
	@echo
	@echo "look at:  data/sample/pairs/00000.tar             pictures, captions and what is known of them"
	@echo "          data/sample/clean/00000.parquet         the ledger: a row for every link, kept or not, and why"
	@echo "          data/sample/examples-contact-sheet.png  pictures, each with what its codes stand for on its right"
	@echo "          data/sample/drawn/index.html            what was drawn, from the likeliest on"
	@echo "          data/sample/examples/manifest.json      what it was all made from, and its sums"

# The package as one file, which pip installs elsewhere with its commands: dalle-ingest, dalle-dedup, dalle-generate ...
wheel: $(VENV)/installed
	rm -rf build/lib dist
	$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist

# README.md and docs/ as a site in build/site that opens from the disk; a link that leads nowhere is an error (were it --quiet,
# mkdocs would count no warnings).
docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo "look at:  build/site/index.html"

# All there is, in under 15 minutes on two cores, two files of tests at a time; at its end it says which ten tests took longest.
test: $(VENV)/installed-dev lint
	$(RUN) -m pytest --numprocesses 2 --dist loadfile

# What one runs while working, in under 90 seconds: lint, and the quick tests of the rooms that were changed.
check: $(VENV)/installed-dev lint
	$(RUN) -m pytest -m "not flink and not slow" $$($(RUN) -m tests.changed)

# Every promise of ARCHITECTURE.md at full size, in at most 30 minutes; what was tried is in benchmarks/results/torture.json.
torture: $(VENV)/installed-dev
	$(RUN) benchmarks/torture.py

# A real Flink on this machine: fetched by name, kept in ~/.cache, about 15 minutes; both results stay in build/flink.
flink-test: $(VENV)/installed-dev
	$(RUN) -m tests.flink.parts
	rm -rf build/flink
	$(RUN) -m pytest tests/flink -m flink
	@cat build/flink/report.md

# One job on the cluster inside Beam's job server, where Java and the job server can be had.
flink-test-small: $(VENV)/installed-dev
	@if $(RUN) -m tests.flink.parts --only-job-server; then $(RUN) -m pytest tests/flink -m flink -k small; \
	else echo "flink-test-small: skipped, for the reason above"; fi

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
	rm -rf $(VENV) build dist data .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
