"""The captions that a model is judged on: COCO's 30,000, drawn by a seed, or all that differ, as on CUB.

The paper samples 30,000 captions of COCO's validation set and does not say which; ours are drawn without replacement
from all captions in the order of their ids (a file's: of its lines), by numpy's PCG64 with the seed, and written with
their ids, so that others can take the very same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dalle.text.caption_file import caption_lines
from schemas.commands.printing import counted
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.opening import open_dataset
from schemas.pair_shards import read_ledger
from schemas.pairs import SUCCESS
from schemas.regular_file import check_regular
from schemas.shapes import Kind, Shape, misfit, whole

CAPTIONS = "captions.jsonl"
TEXTS = "captions.txt"
ALL = "all"
_MOST_DIGITS = 12


_ID = Kind("a whole number or text", lambda value: whole(-(2**63), 2**64).fits(value) or isinstance(value, str))
_CAPTION = Kind("a caption, which is text", lambda value: isinstance(value, str) and bool(value.strip()))
_COCO: Shape = {"annotations": [{"id": _ID, "image_id": _ID, "caption": _CAPTION}]}


@dataclass(frozen=True)
class Caption:
    """One."""

    id: str
    """COCO's number of the annotation; of a dataset's pair its key, #, and which of its captions it is; of a file the
    id that it has, or the line, from 0."""
    picture: str
    """COCO's number of the image, or the pair's key; nothing of a file."""
    text: str


def is_count(text: str) -> bool:
    """Whether it says how many captions, at least one."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) > 0


def draw_captions(source: str, count: str, seed: int) -> list[Caption]:
    """Some captions, in the order of their ids.

    Args:
        source: COCO's captions JSON, a dataset of pairs, or a file as `dalle.generate` reads it (.txt, .jsonl).
        count: how many, or `all`: each text once, the first with it.
        seed: of the draw.

    Raises:
        ValueError: if there are fewer, or the source is neither.
        OSError: if it is not there.
    """
    kinds = {".json": _of_coco, ".jsonl": _of_file, ".txt": _of_file}
    captions = list(kinds.get(Path(source).suffix, _of_pairs)(source))
    for caption in captions:
        if spoilt := next((text for text in (caption.text, caption.id, caption.picture) if _is_no_text(text)), None):
            raise ValueError(
                f"--captions_from {source}: {spoilt[:60]!r} is no text: an escape in it is no character; write it out"
            )
    if count == ALL:
        firsts: dict[str, Caption] = {}
        for caption in captions:
            firsts.setdefault(caption.text, caption)
        captions = list(firsts.values())
    elif int(count) > len(captions):
        raise ValueError(
            f"--captions {count}: {source} has {counted(len(captions), 'caption')}; give at most as many, or all"
        )
    else:
        drawn = np.random.default_rng(seed).choice(len(captions), int(count), replace=False)
        captions = [captions[number] for number in np.sort(drawn)]
    if not captions:
        raise ValueError(f"--captions_from {source}: has no captions")
    return captions


def _is_no_text(text: str) -> bool:
    """Whether it has halves of characters, which JSON can name and no file can hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def write_captions(folder: Folder, captions: list[Caption]) -> None:
    """Leave them with their ids, and as plain lines that `dalle.generate` reads."""
    lines = (
        json.dumps({"id": one.id, "picture": one.picture, "caption": one.text}, ensure_ascii=False) for one in captions
    )
    folder.write(CAPTIONS, "".join(f"{line}\n" for line in lines).encode())
    folder.write(TEXTS, "".join(f"{' '.join(one.text.split())}\n" for one in captions).encode())


def _of_coco(path: str) -> Iterator[Caption]:
    check_regular(path)
    try:
        value = parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"--captions_from {path}: not COCO's captions JSON ({str(error)[:120]})") from None
    if fault := misfit(value, _COCO):
        raise ValueError(f"--captions_from {path}: not COCO's captions JSON ({fault}); give captions_*.json")
    found = [(each["id"], each["image_id"], each["caption"]) for each in value["annotations"]]
    found.sort(key=lambda each: (isinstance(each[0], str), each[0]))
    for number, image, text in found:
        yield Caption(str(number), str(image), text.strip())


def _of_file(path: str) -> Iterator[Caption]:
    for number, (text, name) in enumerate(caption_lines(path)):
        if not text.strip():
            raise ValueError(f"--captions_from {path}: line {number + 1} is empty; write a caption, or take it out")
        yield Caption(name or str(number), "", text)


def _of_pairs(path: str) -> Iterator[Caption]:
    folder = Folder(path)
    manifest: dict[str, Any] = open_dataset(folder, table="pairs")
    for shard in manifest["shards"]:
        for row in read_ledger(folder, shard["name"]).select(["key", "text", "captions", "status"]).to_pylist():
            if row["status"] == SUCCESS:
                for number, text in enumerate(row["captions"] or filter(None, [row["text"]])):
                    yield Caption(f"{row['key']}#{number}", row["key"], text)
