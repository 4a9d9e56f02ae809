"""What `pipelines.ingest` says at its end: rows by fate, how fast it went, which hosts failed most."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines.running.dataset import Made
from pipelines.running.report import human_bytes, print_failures, print_report, print_unexpected
from schemas.commands.printing import counted
from schemas.folder import Folder


def report(folder: Folder, made: Made, seconds: float, *, quiet: bool = False) -> None:
    """Print it.

    Args:
        folder: of the dataset.
        made: what it is now.
        seconds: how long the run took by the clock on the wall.
        quiet: only the counts, in a line.
    """
    facts: dict[str, Any] = {"dataset": folder}
    if made.markers:
        rows = sum(marker.counts.rows for marker in made.markers)
        kept = sum(marker.counts.kept for marker in made.markers)
        fetched = sum(marker.run.get("bytes_fetched", 0) for marker in made.markers)
        stored = sum(file.size for marker in made.markers for file in marker.files)
        shards = counted(len(made.markers), "shard")
        facts |= {
            "rate": f"{kept / seconds:,.1f} images/s kept, {rows / seconds:,.1f} rows/s, {seconds:,.1f} s in all",
            "bytes": f"{human_bytes(fetched)} fetched, {human_bytes(stored)} stored in {shards}",
        }
    if quiet:
        facts = {"dataset": folder}
    print_report("ingest", made.counts, facts, quiet=quiet)
    print_unexpected(made.counts, [text for marker in made.markers for text in marker.run.get("unexpected", ())])
    if quiet:
        return
    worst: Counter[tuple[str, str]] = Counter()
    for marker in made.markers:
        for host, reason, n in marker.run.get("failures_by_host", ()):
            worst[host, reason] += n
    print_failures(made.counts, worst)
