"""A larger sample web without any troubles: thousands of simple scenes with captions, for the zero-shot trial.

    web/          what is served: a PNG of each scene, for a drawing is to come out to the pixel
    list.jsonl    its links, with four captions each
    evaluation/   scenes that the web is to be cleaned of and judged by: 500 that ask for what the web never shows and
                  500 that ask for what it does, with captions.jsonl (file, captions), as `pipelines.dedup` reads it
    unseen.jsonl, seen.jsonl    their captions, as `dalle.generate --captions_file` reads them

What the web never shows are the pairs and the relation of `dalle.scenes.dialect.held_out`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dalle.scenes import draw_flat
from dalle.scenes.dialect import DialectScene, compose_simple, write_simple
from dalle.scenes.dialect.held_out import HELD_OUT, seen_scenes, unseen_scenes
from pipelines.sample_web.making import HOSTS, Web, has_stamp, json_lines
from pipelines.sample_web.pictures import encoded
from schemas.folder import Folder

VERSION = 3
"""Raised when the same rows give another web."""
SIDE = 256
"""Of the pictures, pixels."""
CAPTIONS = 4
"""Of each picture."""
_FIRST_SCENE, _FIRST_UNSEEN, _FIRST_SEEN = 1_000_000_000, 1_800_000_000, 1_900_000_000
"""Seeds; none is one of the other sample web, of the shipped models, or of a test."""
_STAMP = "dialect.json"


@dataclass(frozen=True)
class DialectWeb(Web):
    """The one of simple scenes."""

    @property
    def evaluation(self) -> Path:
        """The pictures that it is cleaned of."""
        return self.folder / "evaluation"


def build_dialect(folder: str | os.PathLike[str], rows: int) -> DialectWeb:
    """Draw the web, or what is missing of it.

    Args:
        folder: is made if need be.
        rows: of its list.
    """
    web = DialectWeb(Path(folder))
    if is_dialect_drawn(folder, rows):
        return web
    out = Folder(web.folder)
    out.remove(_STAMP)
    for directory in (web.files, web.evaluation):
        directory.mkdir(parents=True, exist_ok=True)
    asked = {name: list(_asked(name)) for name in ("unseen", "seen")}
    scenes = [(_FIRST_SCENE + row, web.files / _name(row)) for row in range(rows)]
    drawn = [(made, web.evaluation / file) for some in asked.values() for _, file, made in some]
    with ProcessPoolExecutor(None, multiprocessing.get_context("spawn")) as pool:
        captions = list(pool.map(_draw_row, scenes, chunksize=64))
        list(pool.map(_draw, drawn, chunksize=16))
    links = ({"url": f"http://{HOSTS[row % len(HOSTS)]}/pictures/{_name(row)}"} for row in range(rows))
    out.write("list.jsonl", json_lines({**link, "caption": said} for link, said in zip(links, captions, strict=True)))
    for name, some in asked.items():
        out.write(f"{name}.jsonl", json_lines({"id": id_, "caption": write_simple(made)[0]} for id_, _, made in some))
    out.write(
        "evaluation/captions.jsonl",
        json_lines({"file": file, "captions": write_simple(made)} for some in asked.values() for _, file, made in some),
    )
    out.write_json(_STAMP, _stamp(rows))
    return web


def is_dialect_drawn(folder: str | os.PathLike[str], rows: int) -> bool:
    """Whether the folder holds the web of so many rows, whole."""
    return has_stamp(Path(folder) / _STAMP, _stamp(rows))


def _stamp(rows: int) -> dict[str, int]:
    return {"rows": rows, "version": VERSION}


def _asked(name: str) -> Iterator[tuple[str, str, DialectScene]]:
    """Name of a caption, name of its picture, and the scene."""
    scenes = unseen_scenes(_FIRST_UNSEEN, SIDE) if name == "unseen" else seen_scenes(_FIRST_SEEN, SIDE)
    for number, (what, made) in enumerate(scenes):
        yield f"{name}-{what}-{number:03d}", f"{name}-{number:03d}.png", made


def _name(row: int) -> str:
    return f"{row:06d}.png"


def _draw_row(task: tuple[int, Path]) -> list[str]:
    """Draw the scene of a seed, unless it is there; gives its captions."""
    seed, path = task
    made = compose_simple(seed, SIDE, held_out=HELD_OUT)
    _draw((made, path))
    return list(dict.fromkeys(write_simple(made, CAPTIONS)))


def _draw(task: tuple[DialectScene, Path]) -> None:
    made, path = task
    if path.exists():
        return
    unfinished = path.with_suffix(f".tmp-{os.getpid()}")  # not synced: twenty thousand times that is most of the time
    unfinished.write_bytes(encoded(draw_flat(made.scene), "png"))
    unfinished.replace(path)
