"""Collecting pictures, beside img2dataset 1.47 on the same pictures from the same local nginx.

    python benchmarks/ingest.py [--quick]

serves 3,000 real photographs (COCO val2017 and Flickr8k originals under many names; then the same at 1600 x 1200), runs
this job and img2dataset in turn, several times, with the same size and resize mode, two processes each, and writes
benchmarks/results/ingest.json: steady images/s (first download to last shard), whole runs with start-up, CPU an image
beside a bare loop of decode, crop, resize, encode, PSNR between the two outputs, and the cost of ten times more links.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.record import record, spread
from dalle.pictures.images import decode
from schemas.folder import Folder
from schemas.pair_shards import read_pictures
from schemas.shards import read_tar

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("DALLE_TEST_DATA", ROOT / "../shared/data")).resolve()
QUICK = "--quick" in sys.argv
LINKS, REPEATS = (300, 1) if QUICK else (3000, 5)
PROCESSES = 2
SHARD = 500
THREAD_COUNTS = (16, 64, 256)
"""Tried for img2dataset; its best one is used."""

_NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}/www; }} }}
"""


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[None]:
    """Serve folder/www."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        sys.exit("nginx is missing; apt-get install nginx-light")
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port))
    with subprocess.Popen([program, "-c", str(config)]) as server:
        time.sleep(1)
        yield
        server.terminate()


def pictures(folder: Path, kind: str) -> list[str]:
    """Names of the pictures to fetch, many names for each."""
    sources = sorted([*(DATA / "coco_val2017").glob("*.jpg"), *(DATA / "flickr8k").glob("*.jpg")])
    folder.mkdir(parents=True)
    originals = []
    for number, source in enumerate(sources if kind == "photographs" else sources[:150]):
        data = source.read_bytes()
        if kind == "large":
            big = cv2.resize(decode(data), (1600, 1200), interpolation=cv2.INTER_CUBIC)
            data = cv2.imencode(".jpg", cv2.cvtColor(big, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])[
                1
            ].tobytes()
        originals.append(folder / f"original-{number}.jpg")
        originals[-1].write_bytes(data)
    names = [f"{number:05d}.jpg" for number in range(LINKS * (1 if QUICK else 10))]
    for number, name in enumerate(names):
        (folder / name).symlink_to(originals[number % len(originals)])
    return names


def list_of(path: Path, urls: list[str]) -> Path:
    """A Parquet list of links."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    captions = [f"a photograph of something with the number {i}" for i in range(len(urls))]
    pq.write_table(pa.table({"url": urls, "caption": captions}), path)
    return path


def ours(links: Path, out: Path, port: int) -> list[str]:
    """The command of this job."""
    return [
        *(sys.executable, "-m", "pipelines.ingest", "--runner=DirectRunner", "--url_list", str(links)),
        *("--output_folder", str(out), "--number_sample_per_shard", str(SHARD), "--max_aspect_ratio", "0"),
        *("--processes_count", str(PROCESSES), "--allow_private_hosts", f"127.0.0.1:{port}"),
    ]


def theirs(links: Path, out: Path, threads: int) -> list[str]:
    """The command of img2dataset."""
    return [
        *(str(Path(sys.executable).parent / "img2dataset"), "--url_list", str(links), "--input_format", "parquet"),
        *("--caption_col", "caption", "--output_folder", str(out), "--output_format", "webdataset"),
        *("--number_sample_per_shard", str(SHARD), "--image_size", "256", "--resize_mode", "center_crop"),
        *("--processes_count", str(PROCESSES), "--thread_count", str(threads), "--encode_quality", "95"),
        *("--enable_wandb", "False"),
    ]


def run(command: list[str], out: Path, expected: int) -> dict[str, float]:
    """Run a command; wall and CPU seconds, peak memory of its largest process, steady rate by its own shard stats."""
    shutil.rmtree(out, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    peak = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, *(_memory(p) for p in _family(process.pid)), 0)
            time.sleep(0.1)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, command
    stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    assert expected == sum(s["successes"] for s in stats), f"{command}: not every picture was kept"
    steady = max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "whole": expected / wall,
        "steady": expected / steady,
        "cpu_ms": 1000 * cpu / expected,
        "peak_mb": peak / 2**20,
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def bare_loop(folder: Path, names: list[str]) -> float:
    """Milliseconds of CPU an image: decode, crop, resize, encode with OpenCV, nothing else."""
    cv2.setNumThreads(1)
    files = [(folder / name).read_bytes() for name in names[:450]]
    begun = time.process_time()
    for data in files:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        small = cv2.resize(image[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA)
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return 1000 * (time.process_time() - begun) / len(files)


def psnr(a: Path, b: Path) -> dict[str, float]:
    """Between the two outputs, picture by picture."""
    left = {key: data for shard in sorted(a.glob("*.tar")) for key, _, data in read_pictures(Folder(a), shard.stem)}
    values = []
    for shard in sorted(b.glob("*.tar")):
        with shard.open("rb") as file:
            for key, members in read_tar(file, shard.name):
                one, two = (decode(data).astype(float) for data in (left[key], members["jpg"]))
                values.append(10 * np.log10(255**2 / max(float(((one - two) ** 2).mean()), 1e-9)))
    return {"mean": round(float(np.mean(values)), 2), "least": round(float(np.min(values)), 2), "pictures": len(values)}


def dct_psnr(folder: Path, names: list[str]) -> dict[str, float]:
    """Between our DCT-scaled decoding and full decoding, both shrunk to 256 pixels."""
    from dalle.pictures.images import open_picture
    from dalle.pictures.resize import decoded_size_needed, resize

    values = []
    for name in names[:150]:
        data = (folder / name).read_bytes()
        small, full = (
            resize(open_picture(data).pixels(n), 256, "center_crop").astype(float)
            for n in (decoded_size_needed(256, "center_crop"), 0)
        )
        values.append(10 * np.log10(255**2 / max(float(((small - full) ** 2).mean()), 1e-9)))
    return {"mean": round(float(np.mean(values)), 2), "least": round(float(np.min(values)), 2), "pictures": len(values)}


def compare(folder: Path, kind: str, port: int) -> dict[str, Any]:
    """Both in turn, several times."""
    names = pictures(folder / "www" / kind, kind)
    urls = [f"http://127.0.0.1:{port}/{kind}/{name}" for name in names]
    links = list_of(folder / f"{kind}.parquet", urls[:LINKS])
    out = {"ours": folder / "ours", "theirs": folder / "theirs"}
    tried = {t: run(theirs(links, out["theirs"], t), out["theirs"], LINKS)["steady"] for t in THREAD_COUNTS}
    best = max(tried, key=lambda threads: tried[threads])
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(REPEATS):
        runs["theirs"].append(run(theirs(links, out["theirs"], best), out["theirs"], LINKS))
        runs["ours"].append(run(ours(links, out["ours"], port), out["ours"], LINKS))
    figures: dict[str, Any] = {
        who: {name: spread([r[name] for r in results], 2) for name in results[0]} for who, results in runs.items()
    }
    pairs = list(zip(runs["ours"], runs["theirs"], strict=True))
    figures["ratio ours / theirs"] = {
        name: spread([a[name] / b[name] for a, b in pairs], 3) for name in ("steady", "whole")
    }
    figures["img2dataset's best thread count"] = {"best": best, **{str(t): round(rate, 1) for t, rate in tried.items()}}
    bare = [bare_loop(folder / "www" / kind, names) for _ in range(REPEATS)]
    figures["bare loop, CPU ms an image"] = spread(bare, 3)
    figures["CPU an image / bare loop"] = round(
        figures["ours"]["cpu_ms"]["median"] / figures["bare loop, CPU ms an image"]["median"], 3
    )
    figures["PSNR between the outputs"] = psnr(out["ours"], out["theirs"])
    if kind == "large":
        figures["PSNR of DCT-scaled to full decoding"] = dct_psnr(folder / "www" / kind, names)
    elif not QUICK:
        many = list_of(folder / "many.parquet", urls)
        results = [run(ours(many, out["ours"], port), out["ours"], len(urls)) for _ in range(2)]
        figures["ten times more links"] = {
            "seconds an image, steady, ratio": round(
                figures["ours"]["steady"]["median"] / float(np.median([f["steady"] for f in results])), 3
            ),
            "peak_mb": spread([f["peak_mb"] for f in results], 1),
            "cpu_ms": spread([f["cpu_ms"] for f in results], 2),
            "CPU an image / bare loop": round(
                float(np.median([f["cpu_ms"] for f in results])) / figures["bare loop, CPU ms an image"]["median"], 3
            ),
        }
    figures["mean bytes a picture"] = round(
        np.mean([(folder / "www" / kind / name).stat().st_size for name in names[:LINKS]])
    )
    return figures


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "www").mkdir()
        os.chmod(folder, 0o755)
        port = 18_732
        with nginx(folder, port):
            figures = {kind: compare(folder, kind, port) for kind in ("photographs", "large")}
    record(
        "ingest_quick" if QUICK else "ingest",
        figures,
        ["img2dataset", "pycurl", "simplejpeg", "opencv-python-headless", "apache-beam"],
    )


if __name__ == "__main__":
    main()
