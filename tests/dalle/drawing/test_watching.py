"""What one sees while pictures are drawn, in a terminal and elsewhere."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest

from dalle.drawing import watching
from tests.conftest import ROOT


def test_progress_counts_what_is_drawn_of_a_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A line that has a rate does not say that nothing is done."""
    monkeypatch.setattr(watching, "_LINE_EVERY", 0.0)
    watcher = watching.Watcher()
    watcher.begins(96, 32)
    watcher.batch(32)
    watcher.position(512, 1024)
    watcher.drawn(32)
    lines = capsys.readouterr()
    assert ["48 of 96", "64 of 96"] == re.findall(r"(\d+ of 96) samples, [\d.,]+ images/s", lines.err)
    assert "goes on: 32 of 96 samples are drawn" in lines.out


def test_a_terminal_shows_the_best_in_its_colours() -> None:
    """Above the bar, two pixels a character; a caption cannot colour anything."""
    program = """if True:
        import numpy as np
        from dalle.drawing.watching import Watcher
        from schemas.commands.printing import streams
        with streams():
            watcher = Watcher()
            with watcher.showing():
                watcher.begins(1, 0)
                watcher.judged("kite \\x1b[31m", np.full((32, 32, 3), (1, 200, 30), np.uint8))
    """
    terminal, end = pty.openpty()
    environment = {**os.environ, "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=end, stderr=end, cwd=ROOT, env=environment
    ) as process:
        os.close(end)
        said = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end
            while part := os.read(terminal, 1 << 16):
                said += part
    os.close(terminal)
    assert 0 == process.returncode, said
    pixels = re.findall(r"38;2;1;200;30;48;2;1;200;30m(▀+)", said.decode())
    assert watching.COLUMNS * watching.ROWS == sum(map(len, pixels))
    assert r"kite \x1b[31m" in said.decode()
