"""Planning a list: time grows with its rows, memory does not.

    python benchmarks/plan.py

plans made-up lists of 250 thousand to 2 million links (CSV and Parquet) as `pipelines.ingest` does before it begins,
each in a process of its own, and writes seconds and peak memory to benchmarks/results/plan.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.record import record, spread

ROWS = (250_000, 500_000, 1_000_000, 2_000_000)
REPEATS = 3


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
    """In a process of its own: plan, and print seconds, units and peak memory."""
    from pipelines.lists import ListOptions, open_source
    from pipelines.plan import make_plan
    from schemas.folder import Folder

    opened = open_source(ListOptions(url_list=source))
    before = _peak_mb()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        identity = opened.inputs()[0]["sha256"]
        plan = make_plan(opened.rows(), Folder(folder), identity, 10_000)
    seconds = time.monotonic() - begun
    print(json.dumps({"seconds": seconds, "units": len(plan.units), "before_mb": before, "peak_mb": _peak_mb()}))


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
    figures: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("csv", "parquet"):
            for rows in ROWS:
                source = Path(folder) / f"list.{kind}"
                make_list(source, rows)
                found = []
                for _ in range(REPEATS):
                    command = [sys.executable, __file__, "--once", str(source)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found.append(json.loads(done.stdout))
                figures[f"{kind} {rows}"] = {
                    "seconds": spread([f["seconds"] for f in found]),
                    "microseconds a row": spread([f["seconds"] / rows * 1e6 for f in found]),
                    "peak memory MB": spread([f["peak_mb"] for f in found], 0),
                    "of it before planning MB": spread([f["before_mb"] for f in found], 0),
                    "units": found[0]["units"],
                }
                source.unlink()
    record("plan", figures, ["pyarrow"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        plan_once(sys.argv[2])
    else:
        main()
