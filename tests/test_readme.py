"""README.md and docs/ say what is true: tables are the schemas', output is the commands', what is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.sample_web.troubles import TROUBLES
from schemas.tables import TABLES

ROOT = Path(__file__).parent.parent
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
ROWS = f"rows                         {sum(trouble.count for trouble in TROUBLES)}   100.0 %"


def between(marker: str) -> str:
    """What stands on the one page that has a part of this name."""
    parts = [part for page in PAGES.values() for part in page.split(f"<!-- {marker} -->\n")[1:]]
    assert len(parts) == 1, f"{len(parts)} parts are marked {marker} on {', '.join(PAGES)}, expected one"
    part, ended, _ = parts[0].partition(f"\n<!-- end of {marker} -->")
    assert ended, f"the part marked {marker} has no end"
    return part


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_schemas(name: str) -> None:
    """Each table is what `python -m schemas.tables` prints."""
    assert TABLES[name]() == between(name), "run python -m schemas.tables and put its output where its markers are"


def test_output_shown_is_of_the_sample() -> None:
    """Rows and planted troubles are those of the sample as it is now."""
    assert ROWS in between("demo")
    counts = dict(re.findall(r"^  (\S.*?) {2,}(\d+) {2,}", between("planted"), re.MULTILINE))
    shown = [trouble for trouble in TROUBLES if trouble.name in counts]
    assert shown
    assert [trouble.count for trouble in shown] == [int(counts[trouble.name]) for trouble in shown]


def test_a_first_reading_is_short() -> None:
    """README.md keeps what is needed in the first ten minutes; each page begins with what one types."""
    assert len(PAGES["README.md"].splitlines()) <= 200
    for name, page in PAGES.items():
        assert re.search(r"^```\w*\n", page.partition("\n## ")[0], re.MULTILINE), (
            f"{name} has no command before its parts"
        )


@pytest.mark.parametrize("name", PAGES)
def test_what_is_named_exists(name: str) -> None:
    """Modules that are run, make targets that are named, and files of the project are there."""
    for module in re.findall(r"-m ((?:pipelines|dalle|schemas|tests)\.[\w.]+)", PAGES[name]):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([\w-]+)(?:`|$)", PAGES[name], re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"\b((?:benchmarks|docs|notebooks|tests)/[\w/]+\.\w+)", PAGES[name]):
        assert (ROOT / path).exists(), path


def test_what_is_promised_is_tested() -> None:
    """Each promise of ARCHITECTURE.md names tests that are there, and nothing else is promised."""
    page = (ROOT / "ARCHITECTURE.md").read_text().partition("## What is promised")[2].partition("\n## ")[0]
    promises = re.findall(r"^\| (.+) \| (`.+`) \|$", page, re.MULTILINE)
    assert len(promises) > 10
    assert len(promises) == len(re.findall(r"^\|", page, re.MULTILINE)) - 2, "each row names a test"
    for promise, tests in promises:
        for name in re.findall(r"`(.+?)`", tests):
            assert "def test_" in (ROOT / f"{name.replace('.', '/')}.py").read_text(), promise
