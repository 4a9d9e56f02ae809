"""A training that is stopped, as by `kill -9`, at each of its steps that touch storage: `tests/dalle/training/stops.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT


def test_a_training_is_stopped_at_each_step(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """What was whole is whole; the same command goes on to the same bytes; nothing is left over."""
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    command = [sys.executable, "-m", "tests.dalle.training.stops", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[-2000:]
    found = {name: points for name, points, _ in map(json.loads, filter(None, done.stdout.splitlines()[-3:]))}
    assert {"fresh", "longer", "overwrite"} == set(found)
    record_property("points", sum(found.values()))
    assert all(points > 20 for points in found.values())
