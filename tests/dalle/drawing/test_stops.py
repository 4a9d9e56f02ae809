"""A drawing that is stopped, as by `kill -9`, at each of its steps that touch storage: `tests/dalle/drawing/stops.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_a_drawing_is_stopped_at_each_step(tmp_path: Path) -> None:
    """What was whole is whole; the same command goes on to the same bytes; nothing is left over."""
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    command = [sys.executable, "-m", "tests.dalle.drawing.stops", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[-2000:]
    points = {name: steps for name, steps, _ in map(json.loads, done.stdout.splitlines()[-2:])}
    assert {"fresh", "overwrite"} == set(points)
    assert all(steps > 30 for steps in points.values())
