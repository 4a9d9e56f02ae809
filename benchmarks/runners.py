"""What an engine costs: Flink beside the local runner on the same units, and images/s with 1, 2 and 4 workers.

    python benchmarks/runners.py [--quick]

draws pictures, ingests them as `pipelines.ingest --dataset folder` does (decode, resize, encode, store: work for
processors, not the network), in turn on the local runner with 1, 2 and 4 worker processes and on a standalone Flink on
this machine at parallelism 2, and writes benchmarks/results/runners.json. Where there is no Flink to be had it says so
and measures the rest. Shards of every run are compared: an engine that gives other bytes is no engine.

Steady is from the first unit's begin to the last one's end; start and end are the rest of the command. With fewer
cores than workers more workers cannot be faster: the figures say what this machine did.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from PIL import Image

from benchmarks.record import record, spread
from dalle import scenes
from tests.conftest import hashes
from tests.flink import parts
from tests.flink.cluster import ROOT, Standalone, Started, start_pool

QUICK = "--quick" in sys.argv
PICTURES = 240 if QUICK else 1_200
ROWS = 20 if QUICK else 30
REPEATS = 1 if QUICK else 3
DRAWN = 24
SIZE = (1024, 768)


def draw(folder: Path) -> None:
    """A folder of pictures with captions: a few that are drawn, each many times over under other names."""
    folder.mkdir()
    for number in range(DRAWN):
        scene = scenes.compose(number, *SIZE)
        data = io.BytesIO()
        Image.fromarray(scenes.draw(scene)).save(data, "jpeg", quality=92)
        for copy in range(number, PICTURES, DRAWN):
            (folder / f"{copy:05d}.jpg").write_bytes(data.getvalue())
            (folder / f"{copy:05d}.txt").write_text(scenes.describe(scene, 1)[0])


def run(pictures: Path, out: Path, engine: Sequence[str]) -> dict[str, float]:
    """One command: its seconds, and those between its first and its last shard."""
    shutil.rmtree(out, ignore_errors=True)
    given = ["--dataset", "folder", "--url_list", str(pictures), "--number_sample_per_shard", str(ROWS)]
    command = [sys.executable, "-m", "pipelines.ingest", *given, "--output_folder", str(out), *engine]
    begun, clock = time.time(), time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(engine)}: {done.stderr[-2000:]}")
    whole = time.monotonic() - clock
    markers = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    started = min(marker["start_time"] for marker in markers)
    ended = max(marker["end_time"] for marker in markers)
    return {"whole": whole, "steady": ended - started, "start": started - begun, "end": begun + whole - ended}


def figures_of(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Rates and seconds of some repeats."""
    return {
        "images/s, steady": spread([PICTURES / run["steady"] for run in runs], 1),
        "images/s, whole command": spread([PICTURES / run["whole"] for run in runs], 1),
        "seconds until the first unit begins": spread([run["start"] for run in runs], 1),
        "seconds after the last unit": spread([run["end"] for run in runs], 1),
        "seconds, whole command": spread([run["whole"] for run in runs], 1),
    }


@contextmanager
def flink(place: Path, figures: dict[str, Any]):
    """The flags of a standalone Flink that runs while the block does, or None."""
    started = Started(place / "logs")
    try:
        server = parts.job_server()
        cluster = Standalone(started, parts.flink_libraries(server.flink), place / "settings")
        figures["flink"] = f"{parts.FLINK[server.flink]}, job server {server.what}, 2 task managers of 2 slots"
        yield [
            "--runner=FlinkRunner", f"--flink_version={server.flink}", f"--flink_job_server_jar={server.jar}",
            f"--flink_master={cluster.master}", "--parallelism=2", "--environment_type=EXTERNAL",
            f"--environment_config={start_pool(started)}", "--sdk_worker_parallelism=2",
        ]  # fmt: skip
    except parts.Missing as error:
        figures["flink"] = f"not measured: {error}"
        yield None
    finally:
        started.close()


def main() -> None:
    """Measure."""
    figures: dict[str, Any] = {
        "pictures": f"{PICTURES} JPEG of {SIZE[0]} x {SIZE[1]} in {PICTURES // ROWS} units, from a local folder",
        "cores": len(os.sched_getaffinity(0)),
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        draw(place / "pictures")
        with flink(place, figures) as flags:
            engines = {f"local, {n} worker{'s'[: n > 1]}": [f"--processes_count={n}"] for n in (1, 2, 4)}
            engines |= {"flink, parallelism 2": flags} if flags else {}
            runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
            expected: dict[str, str] = {}
            for _ in range(REPEATS):  # in turn, so that what else the machine does falls on all alike
                for engine, more in engines.items():
                    runs[engine].append(run(place / "pictures", place / "out", more))
                    expected = expected or hashes(place / "out")
                    if hashes(place / "out") != expected:
                        raise RuntimeError(f"{engine}: other bytes than the local runner with 1 worker")
        figures |= {engine: figures_of(some) for engine, some in runs.items()}
    if "flink, parallelism 2" in runs:
        pairs = list(zip(runs["flink, parallelism 2"], runs["local, 2 workers"], strict=True))
        figures["flink / local with 2 workers"] = {
            what: spread([ours[what] / other[what] for ours, other in pairs], 2) for what in ("whole", "steady")
        }
    record("runners_quick" if QUICK else "runners", figures, ["apache-beam", "simplejpeg", "opencv-python-headless"])


if __name__ == "__main__":
    main()
