"""What workers sent back, and the key of their study: JSON that others wrote, checked before anything is counted."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dalle.evaluation.study.asked import RESERVED
from dalle.evaluation.study.page import FORMAT_VERSION
from schemas.commands.printing import one_line
from schemas.json_text import parse_json
from schemas.regular_file import check_regular
from schemas.shapes import NUMBER, TEXT, Kind, Names, Shape, misfit, text_like, whole, words

_MOST_BYTES = 2_000_000
"""Of a worker's file; that of a full page has some 20 kB."""
_HASH = text_like(r"[0-9a-f]{16,64}", "a hash")
_WORKER = Kind("a name of 1 to 100 characters", lambda value: isinstance(value, str) and 0 < len(value.strip()) <= 100)
_SECONDS = Kind("seconds from 0 to 1,000,000", lambda value: NUMBER.fits(value) and 0 <= value <= 1e6)
_ANSWERS: Shape = {
    "format_version": whole(1, 2**31),
    "study": TEXT,
    "page": whole(0, 10**6),
    "worker": _WORKER,
    "answers": [
        {
            "id": _HASH,
            "realistic": words("left", "right"),
            "matches": words("left", "right", "neither"),
            "seconds": _SECONDS,
        }
    ],
}
_KEY: Shape = {
    "format_version": whole(1, 2**31),
    "study": TEXT,
    "models": [TEXT],
    "captions": Names(TEXT, TEXT),
    "pages": [
        [{"id": _HASH, "caption": TEXT, "check?": words("left", "right"), "left?": whole(0, 1), "right?": whole(0, 1)}]
    ],
}


@dataclass(frozen=True)
class Pair:
    """A pair of the key."""

    caption: str
    models: Mapping[str, int]
    """By side; empty for a check."""
    check: str | None
    """The side that matches; None if it is no check."""


@dataclass(frozen=True)
class Key:
    """What a study's key says."""

    study: str
    models: tuple[str, str]
    captions: Mapping[str, str]
    pages: list[dict[str, Pair]]
    """Of each page its pairs by id."""


@dataclass(frozen=True)
class Answer:
    """To one pair."""

    realistic: str
    matches: str
    seconds: float


@dataclass(frozen=True)
class Answers:
    """A worker's file."""

    worker: str
    page: int
    answers: Mapping[str, Answer]
    """By the pair's id."""


def read_key(path: str | os.PathLike[str]) -> Key:
    """The key of a study.

    Raises:
        ValueError: if it is none.
        OSError: if it cannot be read.
    """
    key, problem = _read(path, _KEY, "the key.json that write_study left"), ""
    pages = [{one["id"]: _pair(one) for one in page} for page in key["pages"]]
    pairs = [pair for page in pages for pair in page.values()]
    captions = [pair.caption for pair in pairs if pair.check is None]
    if len(set(key["models"]) - RESERVED) != 2 or len(key["models"]) != 2:
        problem = "does not name two models that differ"
    elif sum(map(len, key["pages"])) != len({name for page in pages for name in page}):
        problem = "has two pairs of one id"
    elif any(pair.check is None and sorted(pair.models.values()) != [0, 1] for pair in pairs):
        problem = "has a pair that is neither a check nor of both models"
    elif len(captions) != len(set(captions)):
        problem = "asks one caption twice"
    elif any(pair.caption not in key["captions"] for pair in pairs):
        problem = "has a pair whose caption it does not know"
    if problem:
        raise ValueError(f"{os.fspath(path)}: {problem}; it was changed after writing")
    return Key(key["study"], (key["models"][0], key["models"][1]), key["captions"], pages)


def read_answers(path: str | os.PathLike[str], key: Key) -> Answers:
    """A worker's file.

    Raises:
        ValueError: if it is none, of another study, or answers what was not asked on its page.
        OSError: if it cannot be read.
    """
    value = _read(path, _ANSWERS, "the file that a page of the study saved")
    where = os.fspath(path)
    if value["study"] != key.study:
        raise ValueError(f"{where}: answers another study than that of the key; give the key it belongs to")
    if value["page"] >= len(key.pages):
        raise ValueError(f"{where}: answers page {value['page']:,}, the study has {len(key.pages):,}")
    found: dict[str, Answer] = {}
    for one in value["answers"]:
        if one["id"] not in key.pages[value["page"]]:
            raise ValueError(f"{where}: answers {one['id']}, which page {value['page']} does not ask")
        if one["id"] in found:
            raise ValueError(f"{where}: answers {one['id']} twice")
        found[one["id"]] = Answer(one["realistic"], one["matches"], float(one["seconds"]))
    worker = one_line(unicodedata.normalize("NFC", value["worker"].encode("utf-8", "replace").decode()))
    return Answers(worker, value["page"], found)


def _pair(one: Mapping[str, Any]) -> Pair:
    models = {one[side]: side for side in ("left", "right") if side in one}
    return Pair(one["caption"], {side: model for model, side in models.items()}, one.get("check"))


def _read(path: str | os.PathLike[str], shape: Shape, what: str) -> Any:
    where = Path(path)
    check_regular(where)
    if where.stat().st_size > _MOST_BYTES and shape is _ANSWERS:
        raise ValueError(f"{where}: has {where.stat().st_size:,} bytes, expected {what}")
    try:
        value = parse_json(where.read_bytes())
    except ValueError as error:
        raise ValueError(f"{where}: is not JSON ({error}); expected {what}") from None
    if problem := misfit(value, shape):
        raise ValueError(f"{where}: {problem}; expected {what}")
    if value["format_version"] != FORMAT_VERSION:
        raise ValueError(f"{where}: has format version {value['format_version']}, this release reads {FORMAT_VERSION}")
    return value
