"""The README says what is true: its tables are the schemas', its output is the command's, its commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.sample_web.troubles import TROUBLES
from schemas.tables import TABLES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def between(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n(.*?)\n<!-- end of {marker} -->", README, re.DOTALL)
    assert found, f"README.md has no part marked {marker}"
    return found.group(1)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_schemas(name: str) -> None:
    """Each table is what `python -m schemas.tables` prints."""
    assert TABLES[name]() == between(name), "run python -m schemas.tables and put its output into README.md"


def test_demo_counts_add_up() -> None:
    """The output shown is of the sample as it is now: rows, and the planted counts that are shown."""
    shown = between("demo")
    assert f"rows                         {sum(t.count for t in TROUBLES)}   100.0 %" in shown
    counts = dict(re.findall(r"^  (\S.*?) {2,}(\d+) {2,}", shown.split("planted in")[1], re.MULTILINE))
    for trouble in TROUBLES:
        if trouble.name in counts:
            assert trouble.count == int(counts[trouble.name])


def test_what_is_named_exists() -> None:
    """Modules that are run and make targets that are named are there."""
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)`?$", README, re.MULTILINE):
        assert f"\n{target}:" in makefile, target


def test_what_is_promised_is_tested() -> None:
    """Each promise of ARCHITECTURE.md names tests that are there, and nothing else is promised."""
    page = (ROOT / "ARCHITECTURE.md").read_text().partition("## What is promised")[2].partition("\n## ")[0]
    promises = re.findall(r"^\| (.+) \| (`.+`) \|$", page, re.MULTILINE)
    assert len(promises) > 10
    assert len(promises) == len(re.findall(r"^\|", page, re.MULTILINE)) - 2, "each row names a test"
    for promise, tests in promises:
        for name in re.findall(r"`(.+?)`", tests):
            assert "def test_" in (ROOT / f"{name.replace('.', '/')}.py").read_text(), promise
