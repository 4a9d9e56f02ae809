# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo zero-shot wheel docs test check torture lint flink-test flink-test-small clean

demo: $(VENV)/installed
	$(RUN) -m pipelines.flow flows/demo.toml
	@echo "look at:  data/sample/pairs/00000.tar             pictures, captions and what is known of them"
	@echo "          data/sample/clean/00000.parquet         the ledger: a row for every link, kept or not, and why"
	@echo "          data/sample/examples-contact-sheet.png  pictures, each with what its codes stand for on its right"
	@echo "          data/sample/drawn/index.html            what was drawn, from the likeliest on"
	@echo "          data/sample/examples/manifest.json      what it was all made from, and its sums"

# From links of a drawn web to pictures of what its captions never combined, judged; about an hour on two cores.
zero-shot: $(VENV)/installed
	$(RUN) -m pipelines.flow flows/zero_shot.toml
	@echo "look at:  data/zero_shot/judged/unseen.png        captions, and what was drawn for them"
	@echo "          data/zero_shot/judged/judged.json       how many are right, in all and by attribute"

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
