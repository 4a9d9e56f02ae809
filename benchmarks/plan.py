"""Planning a list: time grows with its rows, memory does not; what the driver holds of 10 million links.

    python benchmarks/plan.py

plans made-up lists of 250 thousand to 10 million links (CSV and Parquet) as `pipelines.ingest` does before it begins,
each in a process of its own, then does the rest of the driver's work as if workers had done theirs: the pipeline as
it is submitted, the markers read and checked, the manifest written. Seconds, peak memory (Beam included) and sizes go
to benchmarks/results/plan.json. `python benchmarks/plan.py --rows 10000000` measures that size alone and prints it.

Bars: time linear in rows, below 1 GB at 10 million.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.record import record, spread

if TYPE_CHECKING:
    from pipelines.running.unit import Unit
    from schemas.manifest import Marker

ROWS = (250_000, 500_000, 1_000_000, 2_000_000, 10_000_000)
REPEATS = 3
LONG = 5_000_000
"""Longer lists are planned once."""
UNIT = 10_000


def make_list(path: Path, rows: int) -> None:
    """A list of made-up links, written in pieces."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    piece = 50_000
    writer, out = None, path.open("w") if path.suffix == ".csv" else None
    for start in range(0, rows, piece):
        urls = [f"https://host{i % 997}.example/pictures/{i:09d}.jpg" for i in range(start, start + piece)]
        captions = [
            f"a picture of the thing number {i}, seen from its {i % 7} side" for i in range(start, start + piece)
        ]
        if out is not None:
            out.write("url,caption\n" if start == 0 else "")
            out.writelines(f'{url},"{caption}"\n' for url, caption in zip(urls, captions, strict=True))
        else:
            table = pa.table({"url": urls, "caption": captions})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    if out is not None:
        out.close()
    elif writer is not None:
        writer.close()


def plan_once(source: str) -> None:
    """In a process of its own: what the driver does, but for the work; prints seconds, sizes and peak memory."""
    from pipelines.lists import ListOptions, open_source
    from pipelines.lists.slices import make_plan
    from pipelines.running.finishing import finish
    from pipelines.running.output import Decision, begin
    from pipelines.running.unit import PLAN
    from pipelines.work.ingest_options import IngestOptions
    from pipelines.work.ingest_recipe import recipe_of_list
    from schemas.folder import Folder
    from schemas.manifest import MANIFEST, marker_name

    options = IngestOptions(source=ListOptions(url_list=(source,)), number_sample_per_shard=UNIT)
    before = _peak_mb()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(place)
        opened = open_source(options.source)
        recipe = recipe_of_list(options, opened)
        plan = make_plan(opened.rows(), folder, recipe.identity, UNIT)
        planned = time.monotonic()
        found = {"seconds": planned - begun, "units": len(plan.units), "before_mb": before, "planned_mb": _peak_mb()}
        found["plan_mb"] = sum(folder.size(f"{PLAN}/{name}") for name in folder.names(PLAN)) / 1e6
        begin(folder, recipe, Decision())
        units = recipe.units(plan.units, plan.hashes)
        found["pipeline_bytes"] = _pipeline_bytes(units)
        for unit in units:
            marker = _marker(unit)
            folder.write_json(marker_name(unit.shard), marker.to_json())
            for file in marker.files:  # of the right size, and with nothing in them
                with open(folder.path(file.name), "wb") as opened_file:
                    opened_file.truncate(file.size)
        worked = time.monotonic()
        finish(folder, recipe, units)
        found |= {"finish_seconds": time.monotonic() - worked, "manifest_bytes": folder.size(MANIFEST)}
    print(json.dumps({**found, "peak_mb": _peak_mb()}))


def _pipeline_bytes(units: Sequence[Unit]) -> int:
    """Of the pipeline as it is submitted to a cluster."""
    import apache_beam as beam

    p = beam.Pipeline(runner="FnApiRunner")
    _ = p | beam.Create(list(units)) | beam.Reshuffle() | beam.Map(str)
    return len(p.to_runner_api().SerializeToString())


def _marker(unit: Unit) -> Marker:
    """What a worker leaves of a unit, with rows lost for every reason there is."""
    from collections import Counter

    from schemas.folder import FileRecord
    from schemas.manifest import Counts, Marker
    from schemas.reasons import REASONS

    counts = Counts(Counter({"success": unit.rows}))
    for number, (reason, about) in enumerate(REASONS.items()):
        lost = min(unit.rows // (2 * len(REASONS)), 7 * number + 1)
        counts.reasons[about.stage, reason] += lost
        counts.statuses[about.status] += lost
        counts.statuses["success"] -= lost
    files = tuple(FileRecord(f"{unit.shard}.{kind}", "0f" * 32, 287_654_321) for kind in ("tar", "parquet"))
    worst = [[f"host{n}.example", "http-404", 99] for n in range(100)]
    run = {"duration": 33.3, "host": "worker-17", "bytes_fetched": 1_469_880_000, "failures_by_host": worst}
    return Marker(shard=unit.shard, fingerprint=unit.fingerprint, counts=counts, files=files, run=run)


def _peak_mb() -> float:
    """Of this program alone; getrusage would count what its parent had when it started it."""
    return (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        / 1024
    )


def main() -> None:
    """Measure."""
    record("plan", measured(ROWS), ["pyarrow", "apache-beam"])


def measured(sizes: Sequence[int]) -> dict[str, dict]:
    """Figures of lists of these sizes."""
    figures: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("csv", "parquet"):
            for rows in sizes:
                source = Path(folder) / f"list.{kind}"
                make_list(source, rows)
                found = []
                for _ in range(REPEATS if rows < LONG else 1):
                    command = [sys.executable, __file__, "--once", str(source)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found.append(json.loads(done.stdout))
                figures[f"{kind} {rows}"] = {
                    "seconds": spread([f["seconds"] for f in found]),
                    "microseconds a row": spread([f["seconds"] / rows * 1e6 for f in found]),
                    "peak memory MB": spread([f["peak_mb"] for f in found], 0),
                    "of it before planning MB": spread([f["before_mb"] for f in found], 0),
                    "of it when planned MB": spread([f["planned_mb"] for f in found], 0),
                    "units": found[0]["units"],
                    "slices MB": round(found[0]["plan_mb"], 1),
                    "manifest bytes a unit": round(found[0]["manifest_bytes"] / found[0]["units"]),
                    "manifest MB": round(found[0]["manifest_bytes"] / 1e6, 2),
                    "submitted pipeline bytes a unit": round(found[0]["pipeline_bytes"] / found[0]["units"]),
                    "submitted pipeline MB": round(found[0]["pipeline_bytes"] / 1e6, 2),
                    "markers read, manifest written, seconds": spread([f["finish_seconds"] for f in found]),
                }
                source.unlink()
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        plan_once(sys.argv[2])
    elif sys.argv[1:2] == ["--rows"]:
        print(json.dumps(measured([int(sys.argv[2])]), indent=1))
    else:
        main()
