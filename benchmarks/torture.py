"""Every promise of ARCHITECTURE.md at full size: `make torture`, at most 30 minutes on two cores.

    python benchmarks/torture.py [--mutations 50000] [--seed N]

The laws are those of the tests, with `--full`: every step of every command that touches storage is stopped at, and for
retry and extend every pair of such steps; two runs meet in a store in every order with one pause and two, and in many
with three; every special address is asked for in every spelling; jobs and trainings are asked to end in every phase.
Then so many new damaged inputs are drawn (`benchmarks/fuzz.py`). Results: benchmarks/results/torture.json.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fuzzing.kinds import KINDS
from benchmarks.record import record

ROOT = Path(__file__).parent.parent
_LAWS = {
    "stops": ("tests/pipelines/running/test_stops.py", "tests/dalle/training/test_stops.py"),
    "jobs that are stopped": ("tests/pipelines/jobs/test_stopped_jobs.py",),
    "two runs": ("tests/schemas/test_two_runs.py",),
    "addresses": ("tests/pipelines/fetching/test_special_blocks.py", "tests/pipelines/fetching/test_addresses.py"),
    "endings": ("tests/pipelines/jobs/test_endings.py", "tests/dalle/training/test_stopping.py"),
    "tampered files": ("tests/schemas/test_tampered.py", "tests/pipelines/jobs/test_tampered_datasets.py"),
    "memory and handles": ("tests/pipelines/fetching/test_memory.py", "tests/pipelines/fetching/test_open_files.py"),
}
_COUNTED = ("points", "pairs", "interleavings", "addresses", "kills")
_PICTURES = 0.3
"""Of the inputs that are drawn; the rest is shared among the other kinds."""


class _Counter:
    """What tests say of how much they tried, and which of them failed."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.passed = 0
        self.faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each part of a test."""
        if report.failed:
            self.faults.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed += 1
            self.tried.update({name: int(str(n)) for name, n in report.user_properties if name in _COUNTED})


def _law(name: str) -> dict[str, Any]:
    counter, begun = _Counter(), time.monotonic()
    flags = ["--full", "--timeout=0", "-q", "-p", "no:cacheprovider", "--durations=0"]
    code = pytest.main([*flags, *_LAWS[name]], plugins=[counter])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        counter.faults.append(f"{name}: pytest ended with {code}")
    figures = {"tests": counter.passed, **dict(counter.tried), "faults": counter.faults}
    return {**figures, "seconds": round(time.monotonic() - begun, 1)}


def _fuzz(mutations: int, seed: int) -> dict[str, Any]:
    """As many of each kind as it takes; in files of their own, for the benchmark's keeps what was drawn before."""
    others = [kind for kind in KINDS if kind != "pictures"]
    counts = {kind: round(mutations * (1 - _PICTURES) / len(others)) for kind in others}
    counts["pictures"] = mutations - sum(counts.values())
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for kind, count in counts.items():
            flags = ["--kinds", kind, "--mutations", str(count), "--seed", str(seed), "--results", f"{place}/{kind}"]
            subprocess.run(
                [sys.executable, "benchmarks/fuzz.py", *flags], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )
            figures |= json.loads(Path(place, f"{kind}.json").read_text())["figures"]
    return figures


def main() -> None:
    """Try all of it, and write down what was tried and what failed; the exit code says whether anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laws", default=",".join(_LAWS), help="which, with commas between them")
    parser.add_argument("--mutations", type=int, default=50_000, help="damaged inputs that are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; a new one by default")
    options = parser.parse_args()
    os.chdir(ROOT)
    seed, begun = options.seed or secrets.randbelow(2**31), time.monotonic()
    laws = {name: _law(name) for name in filter(None, options.laws.split(","))}
    fuzzed = _fuzz(options.mutations, seed) if options.mutations else {}
    tried = {name: sum(law.get(name, 0) for law in laws.values()) for name in _COUNTED}
    faults = [fault for law in laws.values() for fault in law["faults"]]
    faults += [f"{kind}, {finding}" for kind, totals in fuzzed.items() for finding in totals["findings"]]
    figures = {
        **tried,
        "rows fuzzed": sum(totals["mutations"] for totals in fuzzed.values()),
        "peak MB of a process that was fuzzed": max((t["peak MB of a process"] for t in fuzzed.values()), default=0),
        "faults": len(faults),
        "what failed": faults,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "laws": laws,
        "fuzz": fuzzed,
    }
    record("torture", figures, ["apache-beam", "pyarrow", "opencv-python-headless", "pillow", "torch"])
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
