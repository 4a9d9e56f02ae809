"""The sample web: a seed decides everything, and the main job catches every trouble it is to catch."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.sample_web import build
from pipelines.sample_web.making import VERSION, _content, _pages
from pipelines.sample_web.pictures import thumbnail_distance
from pipelines.sample_web.recall import EXACT, recall
from pipelines.sample_web.tally import tally
from pipelines.sample_web.troubles import BOILERPLATE_CAPTIONS, FOREIGN_CAPTIONS, TROUBLES
from schemas.folder import Folder
from tests.conftest import run_job

pytestmark = pytest.mark.slow


def test_every_trouble_is_caught(sample: Path) -> None:
    """All that ingest handles is caught to the last one; what a later job handles is said to be so."""
    tallied = tally(build(sample / "data/sample"), Folder(sample / "data/sample/pairs"))
    for trouble in TROUBLES:
        caught, fates = tallied[trouble.name]
        assert trouble.count == fates.total()
        if trouble.handled_by == "ingest":
            assert (trouble.name, trouble.count) == (trouble.name, caught), fates
    said = (sample / "said.txt").read_text()
    assert "no --url_list given" in said
    assert all(trouble.name in said for trouble in TROUBLES)


def test_the_sample_is_a_good_dataset(sample: Path) -> None:
    """The audit has nothing to say of it."""
    audited = run_job("pipelines.audit", sample / "data/sample/pairs")
    assert (0, "") == (audited.returncode, audited.stderr)
    assert re.search(r"818 rows, \d+ kept, 0 faults", audited.stdout)


def test_dedup_says_which_copies_it_found(sample: Path) -> None:
    """Every exact copy of a validation picture, most of the edited ones; by edit, as a table."""
    done = run_job("pipelines.dedup", "--detector", "phash", cwd=sample)
    assert 0 == done.returncode, done.stderr
    web, data = build(sample / "data/sample"), sample / "data/sample"
    recalled = recall(web, Folder(data / "pairs"), Folder(data / "clean"))
    assert (10, 10) == recalled[EXACT]
    planted, right = (sum(counts) for counts in zip(*recalled.values(), strict=True))
    assert planted > 50
    assert right > 0.6 * planted
    assert re.search(rf"all +{planted} +{right} ", done.stdout)
    assert "dedup --within handles it" in done.stdout


def test_exact_copies_have_the_same_bytes() -> None:
    """Also where the other link is of another kind of file."""
    import numpy as np

    pages = {page.url: page for page in _pages(0, np.random.default_rng([0, VERSION]))}
    copies = [page for page in pages.values() if page.trouble == "exact copy of another link"]
    assert 12 == len(copies)
    for page in copies[:4]:
        assert page.of is not None
        assert _content(page, 0)[0] == _content(pages[page.of], 0)[0]


_DRAW_AGAIN = """
import hashlib, numpy as np
from pipelines.sample_web import making as b
for page in list(b._pages(0, np.random.default_rng([0, b.VERSION])))[::9]:
    if page.file and page.trouble != "pixel bomb":
        print(page.file, hashlib.sha256(b._content(page, 0)[0]).hexdigest())
"""


def test_a_seed_decides_everything(sample: Path) -> None:
    """Drawn again in another process with other hashes, files have the same bytes; drawn again here, nothing is done."""
    web = sample / "data/sample/web"
    command = [sys.executable, "-c", _DRAW_AGAIN]
    again = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    drawn = dict(line.split() for line in again.stdout.splitlines())
    assert len(drawn) > 70
    assert {name: hashlib.sha256((web / name).read_bytes()).hexdigest() for name in drawn} == drawn
    stamps = {path: path.stat().st_mtime_ns for path in web.iterdir()}
    build(sample / "data/sample")
    assert stamps == {path: path.stat().st_mtime_ns for path in web.iterdir()}


def test_another_seed_is_another_web() -> None:
    """Captions and pictures differ."""
    import numpy as np

    one, two = ({page.caption for page in _pages(seed, np.random.default_rng(seed))} for seed in (0, 1))
    assert len(one & two) < 0.1 * len(one)


def test_plan_has_a_caption_for_each() -> None:
    """Counts of planted captions fit the texts there are."""
    counts = {trouble.name: trouble.count for trouble in TROUBLES}
    assert counts["caption in another language"] == len(FOREIGN_CAPTIONS)
    assert counts["boilerplate caption"] == len(BOILERPLATE_CAPTIONS)
    assert len(counts) == len(TROUBLES)


def test_thumbnails_tell_turned_pictures() -> None:
    """The measure by which pixels are judged sees a turn and not a re-encoding."""
    import cv2

    from dalle.pictures.images import decode
    from dalle.scenes import compose, draw
    from pipelines.sample_web.pictures import encoded, thumbnail

    for seed in range(20):
        pixels = draw(compose(seed, 320, 320))
        assert thumbnail_distance(thumbnail(pixels), thumbnail(decode(encoded(pixels, "jpg", 60)))) < 3
        assert thumbnail_distance(thumbnail(pixels), thumbnail(cv2.rotate(pixels, cv2.ROTATE_180))) > 6


def test_a_plan_of_the_sample(sample: Path) -> None:
    """It probes the web that is drawn already, says so, and changes no file."""
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    done = run_job(
        "pipelines.ingest", "--plan", "--output_folder", "others", "--timeout", 1, "--retries", 0, cwd=sample
    )
    assert 0 == done.returncode, done.stderr
    assert "plan of the sample web: 200 of 818 rows probed" in done.stdout
    assert "nothing was written" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
