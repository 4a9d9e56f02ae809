"""How well do detectors of near-duplicates find edited copies of real pictures among look-alikes?

    python benchmarks/near_duplicates.py

References: the COCO and Flickr8k originals, 12 Kodak photographs and 500 CUB birds. Queries: an edited copy of
every COCO and Flickr8k original for each kind of edit in `dalle.pictures.edits` (strengths take turns), the copies that
other people made (`neardup/`), and distractors: the other CUB birds, plain and edited, the "different picture of
the same kind" pairs of `neardup/`, and drawn pictures. Every pair of a query and a reference is a prediction; as in
`pipelines.dedup`, a detector looks at references through the views that it names, and the best one counts.

Figures: micro average precision over all pairs; the highest recall at precision 0.9 and 0.99; recall by edit at
the threshold of precision 0.9. Side by side: every `--detectors`, and, in an environment of their own that is
made in a temporary folder, fastdup (its own model) and dhash (imagehash). Writes `results/near_duplicates.json`
and `.md` beside this file. Nothing here is ever trained on.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tyro

from dalle import scenes
from dalle.detectors import embed_all, load_detector
from dalle.detectors.views import VIEWS
from dalle.pictures import drawn_textures
from dalle.pictures.edits import EDITS
from dalle.pictures.images import open_picture
from dalle.pictures.overlays import picture_in_picture, side_by_side
from dalle.pictures.pixels import Pixels

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
PEERS = ("fastdup", "dhash")
SEED = 2021


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    detectors: tuple[str, ...] = ("builtin", "phash")
    """Names as `--detector` takes them."""
    peers: bool = True
    """Measure fastdup and dhash as well (installs them from PyPI into a temporary environment)."""
    folder: Path | None = None
    """Where to put the pictures and keep them; a temporary folder otherwise."""
    originals: int | None = None
    """Use only so many originals; for a quick look."""
    distractors: int = 20_500
    """How many pictures that are copies of nothing."""
    output: Path = Path(__file__).parent / "results"
    """Where the results go."""


# The pictures


@dataclass(frozen=True)
class Query:
    """One file of `queries/`, and what it is a copy of."""

    file: str
    kind: str
    strength: float | None = None
    original: str | None = None


def make_pictures(folder: Path, options: BenchmarkOptions) -> list[Query]:
    """Write `references/` and `queries/` and say what the queries are; keeps what is already complete."""
    listing = folder / f"queries-{options.originals}-{options.distractors}.json"
    if listing.exists():
        return [Query(**row) for row in json.loads(listing.read_text())]
    for name in ("references", "queries"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    originals = _files("coco_val2017") + _files("flickr8k")
    birds = _files("cub")
    jobs = [(_write_reference, folder, file) for file in originals + birds[::2] + _files("kodak", "*.png")]
    if options.originals:
        originals = originals[:: len(originals) // options.originals]
    for kind in EDITS:
        jobs += [(_write_copy, folder, kind, index, file) for index, file in enumerate(originals)]
    jobs += [(_write_other_peoples, folder, row) for row in _other_peoples()]
    jobs += [(_write_distractor, folder, index) for index in range(options.distractors)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        queries = [query for query in pool.map(_run, jobs, chunksize=32) if query]
    listing.write_text(json.dumps([vars(query) for query in queries]))
    return queries


def _run(job: tuple) -> Query | None:
    function, *arguments = job
    return function(*arguments)


def _files(name: str, pattern: str = "*.jpg") -> list[Path]:
    return sorted((DATA / name).glob(pattern))


def _read(file: Path) -> Pixels:
    return open_picture(file.read_bytes()).pixels()


def _write(file: Path, pixels: Pixels, quality: int = 95) -> None:
    cv2.imwrite(str(file), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def _write_reference(folder: Path, file: Path) -> None:
    target = folder / "references" / f"{file.stem}.jpg"
    if file.suffix == ".jpg":
        target.write_bytes(file.read_bytes())
    else:
        _write(target, _read(file))


def _write_copy(folder: Path, kind: str, index: int, file: Path) -> Query:
    edit = EDITS[kind]
    strength = edit.strengths[index % len(edit.strengths)]
    rng = np.random.default_rng((SEED, list(EDITS).index(kind), index))
    if edit.apply in (picture_in_picture, side_by_side):  # beside a real picture that is no reference
        backdrop = _read(_files("cub")[1::2][rng.integers(500)])
        pixels = edit.apply(_read(file), strength, rng, backdrop=backdrop)
    else:
        pixels = edit.apply(_read(file), strength, rng)
    name = f"{kind}-{strength:g}-{file.stem}.jpg"
    _write(folder / "queries" / name, pixels)
    return Query(name, kind, strength, f"{file.stem}.jpg")


def _other_peoples() -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / "neardup" / "pairs.jsonl").read_text().splitlines()]


def _write_other_peoples(folder: Path, row: dict[str, str]) -> Query:
    name = f"others-{row['variant']}"
    (folder / "queries" / name).write_bytes((DATA / "neardup" / row["variant"]).read_bytes())
    if "DIFFERENT" in row["relation"]:
        return Query(name, "look-alike")
    return Query(name, "made-by-others", None, row["original"])


def _write_distractor(folder: Path, index: int) -> Query:
    """A bird that is no reference, plain or edited; past those, a drawn picture, half of them edited."""
    rng = np.random.default_rng((SEED, 1_000_000, index))
    birds = _files("cub")[1::2]
    if index < 12 * len(birds):
        kind, pixels = "bird", _read(birds[index % len(birds)])
        is_edited = index >= len(birds)
    else:
        kind, pixels = "drawn", _drawn(index, rng)
        is_edited = bool(rng.integers(2))
    if is_edited:
        edit = EDITS[list(EDITS)[rng.integers(len(EDITS))]]
        pixels = edit.apply(pixels, edit.strengths[rng.integers(len(edit.strengths))], rng)
    name = f"distractor-{kind}-{index:05d}.jpg"
    _write(folder / "queries" / name, pixels)
    return Query(name, kind)


def _drawn(index: int, rng: np.random.Generator) -> Pixels:
    if index % 2:
        return scenes.draw(scenes.compose(index, 256, 192))
    return drawn_textures.draw(224, rng)


# The vectors


def vectors_of(detector: str, files: list[Path], views: tuple[str, ...] = ("whole",)) -> tuple[np.ndarray, float]:
    """[N, V, D] and pictures a second, in two single-threaded processes."""
    halves = [(detector, files[::2], views), (detector, files[1::2], views)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_embed_files, [(detector, files[:1], views)] * 2))  # start and load
        start = time.perf_counter()
        even, odd = pool.map(_embed_files, halves)
        seconds = time.perf_counter() - start
    vectors = np.empty((len(files), *even.shape[1:]), np.float32)
    vectors[::2], vectors[1::2] = even, odd
    return vectors, len(files) / seconds


def _embed_files(job: tuple[str, list[Path], tuple[str, ...]]) -> np.ndarray:
    name, files, views = job
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if name not in _LOADED:
        _LOADED[name] = load_detector(name)
    detector = _LOADED[name]
    pictures = (open_picture(f.read_bytes()).pixels(at_least=detector.least_side) for f in files)
    vectors = embed_all(detector, (VIEWS[view](pixels) for pixels in pictures for view in views))
    return vectors.reshape(len(files), len(views), -1)


_LOADED: dict = {}


def peer_vectors(folder: Path, scratch: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vectors of references and queries by fastdup and dhash, each [N, D], in the order of the file names."""
    venv.create(scratch / "env", with_pip=True)
    python = scratch / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "fastdup", "imagehash"], check=True)
    script = Path(__file__).with_name("near_duplicates_peers.py")
    subprocess.run([python, script, folder, scratch], check=True)
    return {
        peer: tuple(np.load(scratch / f"{peer}-{part}.npy") for part in ("references", "queries")) for peer in PEERS
    }


# The figures


@dataclass(frozen=True)
class Figures:
    """What one detector reached."""

    average_precision: float
    recall_at_90: float
    recall_at_99: float
    threshold_at_90: float
    by_edit: dict[str, float]


def measure(references: np.ndarray, queries: np.ndarray, names: list[str], truth: list[Query]) -> Figures:
    """Rank all pairs by cosine; pairs of equal score are taken together.

    Args:
        references: [R, V, D]; the most alike of a reference's V views counts.
        queries: [Q, D].
        names: [R] file names.
        truth: [Q].
    """
    column = {name: index for index, name in enumerate(names)}
    scores = np.max([queries @ view.T for view in references.transpose(1, 0, 2)], axis=0)  # [Q, R]
    rows = np.array([index for index, query in enumerate(truth) if query.original])
    of = np.array([column[query.original] for query in truth if query.original])
    hits = scores[rows, of]
    is_hit = np.zeros(scores.shape, bool)
    is_hit[rows, of] = True
    floor = np.partition(scores.ravel(), -20 * len(rows))[-20 * len(rows)]  # far below any threshold
    kept = (scores >= floor) | is_hit
    flat, right = scores[kept], is_hit[kept]
    order = np.argsort(-flat, kind="stable")
    flat, right = flat[order], right[order]
    last = np.append(np.flatnonzero(np.diff(flat)), len(flat) - 1)  # of each run of equals
    correct = np.cumsum(right)[last]
    precision, recall = correct / (last + 1), correct / len(rows)
    steps = np.diff(recall, prepend=0)
    best = {level: int(np.max(np.flatnonzero(precision >= level), initial=0)) for level in (0.9, 0.99)}
    threshold = float(flat[last[best[0.9]]])
    kinds = np.array([query.kind for query in truth if query.original])
    by_edit = {kind: float((hits[kinds == kind] >= threshold).mean()) for kind in dict.fromkeys(kinds.tolist())}
    return Figures(
        float((precision * steps).sum()), float(recall[best[0.9]]), float(recall[best[0.99]]), threshold, by_edit
    )


def speed(detector: str) -> float:
    """Pictures a second from the bytes of 640 x 480 JPEGs, in two single-threaded processes."""
    return vectors_of(detector, _files("coco_val2017") * 16)[1]


def _machine() -> dict[str, object]:
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    libraries = {name: version(name) for name in ("torch", "numpy", "opencv-python-headless", "pillow")}
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "command": " ".join(sys.argv),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": libraries,
    }


def run(options: BenchmarkOptions, folder: Path, scratch: Path) -> dict[str, object]:
    """Make the pictures, run every detector, measure."""
    queries = sorted(make_pictures(folder, options), key=lambda query: query.file)
    references = sorted((folder / "references").iterdir())
    names = [file.name for file in references]
    files = [folder / "queries" / query.file for query in queries]
    results: dict[str, object] = {}
    for detector in options.detectors:
        reference_vectors, _ = vectors_of(detector, references, load_detector(detector).views)
        query_vectors, _ = vectors_of(detector, files)
        figures = measure(reference_vectors, query_vectors[:, 0], names, queries)
        results[detector] = vars(figures) | {"images_per_second": speed(detector)}
        print(detector, results[detector], flush=True)
    for peer, (left, right) in (peer_vectors(folder, scratch) if options.peers else {}).items():
        results[peer] = vars(measure(left[:, None], right, names, queries))
    counts = {
        "references": len(references),
        "copies": sum(1 for q in queries if q.original),
        "distractors": sum(1 for q in queries if not q.original),
        "kinds": len(EDITS),
    }
    return {"machine": _machine(), "counts": counts, "detectors": results}


def table(results: dict) -> str:
    """The results as Markdown."""
    detectors = results["detectors"]
    lines = ["| | " + " | ".join(detectors) + " |", "|---|" + "---|" * len(detectors)]
    rows: Iterator[tuple[str, list[float]]] = (
        (label, [figures[key] for figures in detectors.values()])
        for label, key in (
            ("micro average precision", "average_precision"),
            ("recall at precision 0.9", "recall_at_90"),
            ("recall at precision 0.99", "recall_at_99"),
        )
    )
    lines += [f"| **{label}** | " + " | ".join(f"{value:.3f}" for value in values) + " |" for label, values in rows]
    for kind in next(iter(detectors.values()))["by_edit"]:
        strengths = f" ({', '.join(f'{s:g}' for s in EDITS[kind].strengths)})" if kind in EDITS else ""
        lines.append(
            f"| {kind}{strengths} | " + " | ".join(f"{f['by_edit'][kind]:.3f}" for f in detectors.values()) + " |"
        )
    machine, counts = results["machine"], results["counts"]
    head = (
        f"{counts['copies']} copies ({counts['kinds']} kinds of edits) and {counts['distractors']} distractors "
        f"against {counts['references']} references.\n\n"
        f"{machine['date']}, commit {machine['commit'] or 'none yet'}, `{machine['command']}`, "
        f"{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, {machine['libraries']}.\n\n"
    )
    return (
        "# Near-duplicates\n\n"
        + head
        + "Below the figures over all: recall by edit at precision 0.9.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    options = tyro.cli(BenchmarkOptions, description=__doc__)
    if not DATA.is_dir():
        sys.exit(f"the pictures are not at {DATA}; DALLE_TEST_DATA names their folder")
    with tempfile.TemporaryDirectory() as scratch:
        results = run(options, options.folder or Path(scratch), Path(scratch))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "near_duplicates.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.output / "near_duplicates.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
