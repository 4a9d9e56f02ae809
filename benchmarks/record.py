"""Write down a measurement so that it can be judged later: what, where, when, with which versions, how spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def spread(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Median, least and most of some repeats."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "repeats": len(values),
    }


def record(name: str, figures: dict[str, Any], distributions: Sequence[str]) -> Path:
    """Write `results/<name>.json` and print it."""
    root = RESULTS.parent.parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False)
    result = {
        "benchmark": name,
        # places of this machine by their last name alone
        "command": " ".join(
            Path(word).name if Path(word).is_absolute() else word for word in [sys.executable, *sys.orig_argv[1:]]
        ),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip() + (" with changes" if dirty.stdout.strip() else ""),
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "memory": _memory()},
        "versions": {"python": platform.python_version(), **{d: version(d) for d in distributions}},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return path


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
