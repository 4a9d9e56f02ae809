"""Each job that changes a finished folder, stopped at drawn steps that touch storage (`tests.stopping` has the law).

All steps of what surrounds every job are in tests/pipelines/running/test_stops.py; here are the jobs' own files. All
steps of the jobs are in `benchmarks/torture.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dalle.sandbox import fork_ahead
from dalle.scenes import compose, draw
from pipelines import dedup, encode, ingest, vocab
from tests.conftest import jsonl, write_jpeg
from tests.server import Web
from tests.stopping import Change, Place, must, stop_at_each_step, units_are_done_here

pytestmark = [pytest.mark.slow, pytest.mark.alone]

POINTS = 8
"""Of each job, on each place."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures in two shards, one of them a reference and two alike; two sets of references; decisions."""
    world = tmp_path_factory.mktemp("world")
    for folder in ("pictures", "birds", "boats"):
        (world / folder).mkdir()
    for number in range(5):
        picture = draw(compose(number % 4, 256, 256))
        write_jpeg(world / f"pictures/{number}.jpg", picture)
        (world / f"pictures/{number}.txt").write_text("a picture that is drawn")
    write_jpeg(world / "birds/0.jpg", draw(compose(0, 256, 256)))
    write_jpeg(world / "boats/0.jpg", draw(compose(9, 256, 256)))
    flags = ["--dataset", "folder", "--url_list", world / "pictures", "--output_folder", world / "pairs"]
    children = pytest.MonkeyPatch()
    units_are_done_here(children)  # in children: torch's threads would not outlive a fork of this process
    must(lambda: run(ingest, *flags, "--number_sample_per_shard", 3, "--filters", "none"))
    pair = {"key": "000001", "reference_set": "birds", "reference_id": "0.jpg", "decision": "copy"}
    must(lambda: run(dedup, *dedup_flags(world, world / "clean")))
    detector = json.loads((world / "clean/dedup/decisions.json").read_text())["detector"]
    (world / "decisions.json").write_text(json.dumps({"detector": detector, "pairs": [pair]}))
    must(lambda: run(vocab, "--input_folder", world / "clean", "--output_folder", world / "words", "--vocab_size", 260))
    children.undo()
    return world


def run(job: object, *flags: object) -> None:
    """A job in this process; it is to end well. What decodes pictures is a fork, as in a worker, no new interpreter."""
    fork_ahead()
    code = job.main([*map(str, flags), "--processes_count", "1"] if job is not vocab else [*map(str, flags)])  # type: ignore[attr-defined]
    assert code == 0


def dedup_flags(world: Path, out: object, *more: object) -> list[object]:
    """One set of references unless more are given."""
    sets = [f"birds={world / 'birds'}"]
    return [
        "--input_folder",
        world / "pairs",
        "--output_folder",
        out,
        "--detector",
        "phash",
        "--reference",
        *sets,
        *more,
    ]


def jobs(world: Path, web: Web, links: Path) -> dict[str, Change]:
    """What each job does to a folder that it has made."""
    deduped = lambda url: run(dedup, *dedup_flags(world, url, f"boats={world / 'boats'}"))  # noqa: E731
    collect = [
        "--url_list",
        links,
        "--allow_private_hosts",
        web.address,
        "--retries",
        0,
        "--number_sample_per_shard",
        2,
    ]
    examples = ["--input_folder", world / "clean", "--dvae", "tests.own_encoder:Greys", "--output_folder"]
    words = ["--input_folder", world / "clean", "--output_folder"]
    return {
        "dedup, a set less and another threshold": Change(
            deduped, lambda url: run(dedup, *dedup_flags(world, url, "--threshold", 0.7)), deduped
        ),
        "dedup within, with decisions": Change(
            deduped,
            lambda url: run(dedup, *dedup_flags(world, url, "--within", "--decisions", world / "decisions.json")),
        ),
        "ingest, retry": Change(
            lambda url: run(ingest, *collect, "--output_folder", url),
            lambda url: run(ingest, *collect, "--output_folder", url, "--incremental_mode", "retry"),
            lambda url: run(ingest, *collect, "--output_folder", url),
        ),
        "encode with another vocabulary": Change(
            lambda url: run(encode, *examples, url),
            lambda url: run(encode, *examples, url, "--vocabulary", world / "words"),
            lambda url: run(encode, *examples, url),
        ),
        "vocab of another size": Change(
            lambda url: run(vocab, *words, url, "--vocab_size", 258),
            lambda url: run(vocab, *words, url, "--vocab_size", 260),
        ),
    }


NAMES = (
    "dedup, a set less and another threshold",
    "dedup within, with decisions",
    "ingest, retry",
    "encode with another vocabulary",
    "vocab of another size",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_job_is_stopped(
    place: Place,
    name: str,
    world: Path,
    web: Web,
    tmp_path: Path,
    full: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """At some of its steps; some of the links that are fetched again have nobody who answers."""
    write_jpeg(web.folder / "a.jpg", draw(compose(1, 256, 256)))
    urls = [web.url("a.jpg"), "http://127.0.0.1:1/b.jpg", web.url("a.jpg")]
    links = jsonl(tmp_path / "links.jsonl", [{"url": url, "caption": "a picture that is drawn"} for url in urls])
    change = jobs(world, web, links)[name]
    points = stop_at_each_step(place, change, random.Random(name), most=None if full else POINTS)
    record_property("points", points[0] if full else min(points[0], POINTS))
    assert points[1] > POINTS // 3
