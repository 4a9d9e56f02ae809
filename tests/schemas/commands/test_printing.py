"""What reaches a terminal: printable, whatever it was made of; and no stream that fails keeps a command from its work."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from schemas.commands.console import PrintableConsole
from schemas.commands.printing import Printed, Trusted, is_lost, one_line, printable, streams
from tests.conftest import ROOT

EVERYTHING = list(map(chr, range(0x110000)))
OBEYED = [c for c in EVERYTHING if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
TURNING = [
    c
    for c in EVERYTHING
    if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN")
]


def test_no_character_that_a_terminal_obeys_passes() -> None:
    """Of all there are: every control, format, surrogate and separator character, every one that turns a text around."""
    assert {"\x1b", "\x9b", "\u202e", "\u2066", "\u200f", "\xad", "\ud800", "\u2028", "\U000e0041"} <= {*OBEYED}
    assert {"\u061c", "\u200e"} < {*OBEYED, *TURNING}
    escaped = {character: printable(character) for character in {*OBEYED, *TURNING}}
    for character, shown in escaped.items():
        assert character not in shown
        assert shown.isascii()
        assert shown.isprintable()
    assert len(set(escaped.values())) == len(escaped)  # no two names look alike because of it


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))))
def test_what_is_harmless_stays(text: str) -> None:
    """Letters of all scripts, marks, emoji, spaces of all widths."""
    assert text == printable(text)


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_one_line_is_one(text: str) -> None:
    """Whatever it is made of, it does not begin a line of its own."""
    assert one_line(text).isprintable() or all(
        c.isprintable() or unicodedata.category(c) == "Zs" for c in one_line(text)
    )
    assert len(one_line(text).splitlines()) <= 1


def test_a_table_obeys_nobody_but_rich() -> None:
    """Colours are rich's own; of a host's name none, nor a link, a move of the cursor, or a turn."""
    obeyed = {*OBEYED}
    table = Table("host")
    table.add_row("".join(OBEYED[:300]))
    table.add_row("[red]x[/red][/] :smile:")
    screen = io.StringIO()
    console = PrintableConsole(file=screen, force_terminal=True, width=200, markup=False, emoji=False)
    console.print(table, style="red")
    shown = screen.getvalue()
    assert "\x1b[31m" in shown
    rest = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "[red]x[/red]" in rest
    assert ":smile:" in rest
    assert {"\n"} == {c for c in rest if c in obeyed}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_takes_any_text(encoding: str) -> None:
    """A terminal that does not know a character sees it escaped."""
    raw = io.BytesIO()
    with_encoding = io.TextIOWrapper(raw, encoding)
    out = Printed(Trusted(with_encoding))
    print("日本 é \ud83d", file=out)
    out.flush()
    assert b"\\ud83d\n" in raw.getvalue()
    assert not is_lost(out)


PRINTS = "from schemas.commands.printing import streams, is_lost\nimport sys, pathlib\nwith streams():\n    for _ in range(20000): print('a line of a report')\n    print('and a complaint', file=sys.stderr, flush=True)\n    lost = is_lost(sys.stdout)\npathlib.Path(sys.argv[1]).write_text(f'{lost}')\n"  # fmt: skip


@pytest.mark.parametrize(
    "where", ["| true", "> /dev/full", ">&-", "2>&-", "> /dev/full 2>&1", ">&- 2>&-", "> /dev/null"]
)
def test_the_work_goes_on(where: str, tmp_path: Path) -> None:
    """However standard output and errors are closed: the last line of the program is reached, and it ends with 0."""
    done = tmp_path / "done"
    command = f'set -o pipefail; "{sys.executable}" -c "$0" "$1" {where}'
    ended = subprocess.run(
        ["bash", "-c", command, PRINTS, str(done)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert 0 == ended.returncode, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ("True" if "full" in where or "true" in where else "False") == done.read_text()


def test_closed_streams_are_no_ones_file(tmp_path: Path) -> None:
    """A file that is opened after standard error was closed does not become standard error."""
    code = "from schemas.commands.guard import open_standard_streams as o; o(); import sys; print(open(sys.argv[1], 'w').fileno())"
    script = f'"{sys.executable}" -c "$0" "$1" 2>&- <&-'
    out = subprocess.run(
        ["bash", "-c", script, code, str(tmp_path / "a")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) > 2
    assert os.path.getsize(tmp_path / "a") == 0


def test_streams_are_given_back(capsys: pytest.CaptureFixture) -> None:
    """Inside they clean, outside they are what they were."""
    before = sys.stdout
    with streams():
        print("a\x1b[2Jb")
    assert before is sys.stdout
    assert "a\\x1b[2Jb\n" == capsys.readouterr().out
