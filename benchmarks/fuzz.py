"""Damaged input of every kind, against the real jobs: does one of it end a process, fail a unit or take a gigabyte?

    python benchmarks/fuzz.py [--kinds pictures,lists,manifests] [--mutations 50000] [--seed 1] [--results fuzz]

draws so many damaged inputs of each kind, beginning where the last run with this seed ended, and adds what it found
to benchmarks/results/fuzz.json. That is written after every round: the run may be stopped at any time and goes on.
Pictures go through `pipelines.ingest` as a user would run it, 2,000 a job; other kinds through the code that reads
them, in a process of its own. A finding names seed and number: `drawn(kind, seed, number)` in
benchmarks/fuzzing/kinds.py draws it again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fuzzing.kinds import KINDS, LIMITS, drawn
from benchmarks.record import RESULTS, record
from dalle.sandbox import one_by_one

ROOT = Path(__file__).parent.parent
ROUND = 2_000
"""Inputs between two looks at the file of results; pictures of one job."""
SHARD = 500
_WAYS = (
    ("--resize_mode", "center_crop"),
    ("--resize_mode", "keep_ratio", "--image_size", "64"),
    ("--resize_mode", "no", "--encode_format", "png", "--encode_quality", "1"),
    ("--resize_mode", "border", "--encode_format", "webp", "--skip_reencode", "True"),
)
"""Options of jobs, in turn."""
_FAULTS = ("unexpected", "decoder-crashed", "decoder-time")
"""Reasons of rows that are findings; `decoder-memory` is what a header that lies is refused with."""
_FINDINGS = 50
"""That are kept."""


class Totals:
    """What was found so far with one kind and seed."""

    def __init__(self, stored: dict[str, Any]) -> None:
        self.done: int = stored.get("mutations", 0)
        self.seconds: float = stored.get("seconds", 0.0)
        self.peak: float = stored.get("peak MB of a process", 0.0)
        self.counts: Counter[str] = Counter(stored.get("faults", {}))
        self.outcomes: Counter[str] = Counter(stored.get("outcomes", {}))
        self.findings: list[str] = stored.get("findings", [])

    def find(self, number: int, what: str) -> None:
        """Something that must not be."""
        if len(self.findings) < _FINDINGS:
            self.findings.append(f"{number}: {what[:200]}")

    def to_json(self) -> dict[str, Any]:
        """For the file of results."""
        names = ("dead jobs", "units failed", "processes that died", "rows nobody foresaw", "raised")
        return {
            "mutations": self.done,
            "seconds": round(self.seconds, 1),
            "mutations an hour": round(3600 * self.done / self.seconds) if self.seconds else 0,
            "peak MB of a process": round(self.peak, 1),
            "faults": {name: self.counts[name] for name in names},
            "outcomes": dict(sorted(self.outcomes.items())),
            "findings": self.findings,
        }


def through_jobs(seed: int, first: int, count: int, totals: Totals) -> None:
    """Pictures, as a folder that a user has."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        for number in range(first, first + count):
            (place / "in" / f"{number:09d}.jpg").write_bytes(drawn("pictures", seed, number) or b"x")
            (place / "in" / f"{number:09d}.txt").write_text("a damaged picture")
        command = [
            *(sys.executable, "-m", "pipelines.ingest", "--dataset", "folder", "--url_list", str(place / "in")),
            *("--output_folder", str(place / "out"), "--filters", "none", "--number_sample_per_shard", str(SHARD)),
            *("--processes_count", "2", *_WAYS[first // ROUND % len(_WAYS)]),
        ]
        code, said, peak = _watched(command)
        totals.peak = max(totals.peak, peak)
        if not (place / "out" / "manifest.json").exists():
            failed = "unit" in said
            totals.counts["units failed" if failed else "dead jobs"] += 1
            totals.find(first, f"exit code {code}: {said[-180:]}")
            return
        for row in _ledger(place / "out"):
            reason = row["reason"] or "kept"
            totals.outcomes[reason] += 1
            if reason in _FAULTS:
                totals.counts["rows nobody foresaw" if reason == "unexpected" else "processes that died"] += 1
                totals.find(int(Path(row["url"]).stem), f"{reason}: {row['error_message']}")


def _ledger(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(path, columns=["url", "reason", "error_message"]).to_pylist()


def _watched(command: list[str]) -> tuple[int, str, float]:
    """Exit code, what it said last, and the most megabytes that a process of it took."""
    peak = 0.0
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said) as process:
            while process.poll() is None:
                peak = max(peak, _peak_of(process.pid))
                time.sleep(0.1)
        said.seek(0)
        return process.returncode, " ".join(said.read().split()), peak


def _peak_of(pid: int) -> float:
    """Megabytes that the largest of a process's family has had at most."""
    try:
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return max(map(_high_water, family))


def _high_water(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


def through_functions(kind: str, seed: int, first: int, count: int, totals: Totals) -> None:
    """Other kinds: the code that reads them, in a process with limits."""
    function = KINDS[kind].done_to
    assert function is not None
    items = ((number, drawn(kind, seed, number)) for number in range(first, first + count))
    for number, answer in one_by_one(function, LIMITS, items):
        outcome = answer.fault or ("raised" if answer.raised else str(answer.value))
        totals.outcomes[outcome] += 1
        if answer.fault or answer.raised:
            totals.counts["processes that died" if answer.fault else "raised"] += 1
            totals.find(number, answer.raised or f"{answer.fault}: {answer.message}")
        elif "badly" in outcome:
            totals.counts["raised"] += 1
            totals.find(number, outcome)
    totals.peak = max(
        totals.peak, max((_high_water(p.pid) for p in psutil.Process().children(recursive=True)), default=0)
    )


def main() -> None:
    """Draw, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas between them")
    parser.add_argument("--mutations", type=int, default=50_000, help="of each kind, more than there are already")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", default="fuzz", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    path = RESULTS / f"{options.results}.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    for kind in options.kinds.split(","):
        name = f"{kind}, seed {options.seed}"
        totals = Totals(figures.get(name, {}))
        until = totals.done + options.mutations
        while totals.done < until:
            count = min(ROUND - totals.done % ROUND, until - totals.done)
            begun = time.monotonic()
            if KINDS[kind].done_to is None:
                through_jobs(options.seed, totals.done, count, totals)
            else:
                through_functions(kind, options.seed, totals.done, count, totals)
            totals.seconds += time.monotonic() - begun
            totals.done += count
            figures[name] = totals.to_json()
            print(f"{name}: {json.dumps(figures[name])[:1000]}", flush=True)
            with contextlib.redirect_stdout(io.StringIO()):
                record(options.results, figures, ["opencv-python-headless", "pillow", "pillow-heif", "simplejpeg"])


if __name__ == "__main__":
    main()
