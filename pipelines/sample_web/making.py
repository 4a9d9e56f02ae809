"""Draw the sample web into a folder: its pictures, the list of its links, and what is planted where."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from dalle.scenes import compose, describe, draw
from pipelines.sample_web import pictures
from pipelines.sample_web.troubles import (
    BOILERPLATE_CAPTIONS,
    FOREIGN_CAPTIONS,
    GOOD,
    SHORT_CAPTIONS,
    TROUBLES,
    VALIDATION,
)
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.manifest import fingerprint

HOSTS = ("photos.sample.test", "cdn.sample.test", "blog.sample.test")
CLOSED_HOST, OPT_OUT_HOST = "closed.sample.test", "private.sample.test"
VERSION = 2
"""Raised when the same seed gives another web."""

_STAMP = "seed.json"
_FIRST_ROWS = 100
"""The slow links stand among the first rows, so that only one unit has to wait for them."""

_ANSWERS = {  # the first part of a link's path, by which the server knows how to answer
    "dead link": "missing",
    "gone for good": "gone",
    "forbidden": "forbidden",
    "server error": "error",
    "too many requests": "busy",
    "redirect loop": "loop",
    "slow response": "slow",
    "endless response": "endless",
    "cut connection": "cut",
    "too large": "large",
    "empty response": "empty",
    "web page instead of a picture": "page",
    "SVG": "svg",
    "X-Robots-Tag opt-out": "noai",
}
_PRIVATE = (
    "http://127.0.0.1/admin.jpg",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/router.jpg",
    "http://[::1]/loopback.jpg",
    "http://2130706433/decimal.jpg",
)


@dataclass(frozen=True)
class Web:
    """A web of our own on disk."""

    folder: Path

    @property
    def links(self) -> Path:
        """The list of links with captions."""
        return self.folder / "list.jsonl"

    @property
    def files(self) -> Path:
        """What is served."""
        return self.folder / "web"


@dataclass(frozen=True)
class SampleWeb(Web):
    """The one with every trouble that a list can have."""

    @property
    def validation(self) -> Path:
        """The validation set: a folder of pictures with captions.jsonl."""
        return self.folder / "validation"

    def planted(self) -> list[dict[str, Any]]:
        """For each row of the list: its trouble, a thumbnail of how it should look, of what it is a copy and how."""
        return [json.loads(line) for line in (self.folder / "planted.jsonl").open()]


@dataclass(frozen=True)
class _Page:
    """One row of the list, and the file that is drawn for it, if any."""

    trouble: str
    url: str
    caption: str | None
    file: str | None = None
    scene: int = 0
    number: int = 0
    of: str | None = None
    """Of a copy: the other link, or the validation picture."""

    @property
    def edit(self) -> str | None:
        """What was done to a copy."""
        return pictures.edit_of(self.number) if self.trouble.startswith("edited copy") else None


def build(folder: str | os.PathLike[str], seed: int = 0) -> SampleWeb:
    """Draw the sample web, unless the folder holds the same one already."""
    web = SampleWeb(Path(folder))
    if is_drawn(folder, seed):
        return web
    rng = np.random.default_rng([seed, VERSION])
    pages = _ordered(list(_pages(seed, rng)), rng)
    for directory in (web.files, web.validation):
        directory.mkdir(parents=True, exist_ok=True)
    tasks = [(web, page, seed) for page in pages if page.file] + [(web, number, seed) for number in range(VALIDATION)]
    with ProcessPoolExecutor(None, multiprocessing.get_context("spawn")) as pool:
        thumbnails = dict(filter(None, pool.map(_draw, tasks, chunksize=16)))
    out = Folder(web.folder)
    out.write("list.jsonl", json_lines({"url": p.url, "caption": p.caption} for p in pages))
    out.write(
        "planted.jsonl",
        json_lines(
            {
                "url": p.url,
                "trouble": p.trouble,
                "looks": thumbnails.get(p.file or ""),
                "of": p.of,
                "edit": p.edit,
            }
            for p in pages
        ),
    )
    captions = ({"file": _validation_file(n), "captions": describe(_validation(seed, n), 5)} for n in range(VALIDATION))
    out.write("validation/captions.jsonl", json_lines(captions))
    out.write_json(_STAMP, _stamp(seed))
    return web


def is_drawn(folder: str | os.PathLike[str], seed: int = 0) -> bool:
    """Whether the folder holds the sample web of this seed, whole."""
    return has_stamp(Path(folder) / _STAMP, _stamp(seed))


def has_stamp(file: Path, stamp: Mapping[str, Any]) -> bool:
    """Whether a file, which is written last, says that a web is whole and which one it is."""
    try:
        return file.exists() and bool(parse_json(file.read_bytes()) == stamp)
    except ValueError:
        return False


def _stamp(seed: int) -> dict[str, Any]:
    return {"seed": seed, "version": VERSION, "content": fingerprint([repr(TROUBLES), VALIDATION])}


def _pages(seed: int, rng: np.random.Generator) -> Iterator[_Page]:
    scenes = count(1000 * (seed + 1))
    good: list[_Page] = []
    for trouble in TROUBLES:
        for number in range(trouble.count):
            scene = next(scenes)
            host = HOSTS[int(rng.integers(len(HOSTS)))]
            kind = pictures.FORMATS[int(rng.integers(len(pictures.FORMATS)))]
            name = f"{trouble.name.replace(' ', '-')}-{number:03d}.{kind}"
            url, file = f"http://{host}/pictures/{name}", name
            caption: str | None = describe(compose(scene))[0]
            of = None
            match trouble.name:
                case "unknown host":
                    url, file = f"http://nowhere-{number}.invalid/{name}", ""
                case "nobody listens":
                    url, file = f"http://{CLOSED_HOST}/{name}", ""
                case "private address":
                    url, file = _PRIVATE[number], ""
                case "local file":
                    url, file = ("file:///etc/hostname", "ftp://files.sample.test/picture.jpg")[number], ""
                case "robots.txt":
                    url = f"http://{OPT_OUT_HOST}/pictures/{name}"
                case "caption too short":
                    caption = SHORT_CAPTIONS[number % len(SHORT_CAPTIONS)]
                case "no caption":
                    caption = (None, "", "   ")[number % 3]
                case "caption in another language":
                    caption = FOREIGN_CAPTIONS[number]
                case "boilerplate caption":
                    caption = BOILERPLATE_CAPTIONS[number]
                case "exact copy of another link" | "edited copy of another link":
                    original = good[7 * number % len(good)]
                    scene, of = original.scene, original.url
                    if trouble.name.startswith("exact"):  # the same file, so of the same kind
                        file = f"{name.rpartition('.')[0]}.{of.rpartition('.')[2]}"
                        url = f"http://{host}/pictures/{file}"
                case "exact copy of a validation picture" | "edited copy of a validation picture":
                    scene, of = number % VALIDATION, _validation_file(number % VALIDATION)
                case name_ if name_ in _ANSWERS:
                    answer = _ANSWERS[name_]
                    url, file = f"http://{host}/{answer}/{name}", name if answer == "noai" else ""
            page = _Page(trouble.name, url, caption, file or None, scene, number, of)
            good += [page] if trouble.name == GOOD else []
            yield page


def _ordered(pages: list[_Page], rng: np.random.Generator) -> list[_Page]:
    slow = [page for page in pages if page.trouble in ("slow response", "endless response")]
    others = [page for page in pages if page not in slow]
    others = [others[i] for i in rng.permutation(len(others))]
    for page in slow:
        others.insert(int(rng.integers(_FIRST_ROWS - len(slow))), page)
    return others


def _draw(task: tuple[SampleWeb, _Page | int, int]) -> tuple[str, str] | None:
    """Draw one file; gives its name and thumbnail."""
    web, page, seed = task
    if isinstance(page, int):
        pixels = draw(_validation(seed, page))
        (web.validation / _validation_file(page)).write_bytes(pictures.encoded(pixels, "jpg"))
        return None
    assert page.file is not None
    data, looks = _content(page, seed)
    (web.files / page.file).write_bytes(data)
    return page.file, looks


def _content(page: _Page, seed: int) -> tuple[bytes, str]:
    kind = (page.file or "").rsplit(".", 1)[-1]
    if page.trouble == "pixel bomb":
        return pictures.bomb(), ""
    if "validation" in page.trouble:
        original = draw(_validation(seed, page.scene))
        if page.trouble.startswith("exact"):
            return pictures.encoded(original, "jpg"), pictures.thumbnail(original)
    elif page.trouble == "extreme aspect":
        width, height = ((1000, 300), (280, 900))[page.number % 2]
        original = draw(compose(page.scene, 1000, 1000))[:height, :width]
    else:
        original = draw(compose(page.scene))
    if page.trouble.startswith("edited copy"):
        original, _ = pictures.edited(original, page.number, seed)
    if page.trouble in pictures.ODD:
        looks = pictures.thumbnail(pictures.shown(page.trouble, original))
        return pictures.ODD[page.trouble](original, page.number), looks
    data = pictures.encoded(original, kind)
    if page.trouble == "truncated file":
        data = pictures.encoded(original, ("jpg", "png")[page.number % 2])
        data = data[: len(data) * 2 // 3]
    elif page.trouble == "broken file":
        data = (bytes(range(256)) * 20, data[:10] + bytes(500), b"\xff\xd8\xff\xe0" + b"no picture " * 90)[
            page.number % 3
        ]
    return data, pictures.thumbnail(original)


def _validation(seed: int, number: int) -> Any:
    return compose(900_000_000 + 1000 * seed + number)


def _validation_file(number: int) -> str:
    return f"validation-{number:03d}.jpg"


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A line of JSON for each row."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
