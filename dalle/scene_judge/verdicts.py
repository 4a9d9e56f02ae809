"""What a judge says of all samples of some captions, and of true drawings and what codes make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dalle.dvae.image_encoders import DVAEEncoder
from dalle.evaluation.sample_table import sample_rows
from dalle.evaluation.samples import SAMPLES, read_picture
from dalle.pictures.images import decode
from dalle.pictures.resize import resize
from dalle.scene_judge.agreement import Agreement, agreement
from dalle.scene_judge.network import SceneJudge
from dalle.scene_judge.seeing import Seen, see
from dalle.scenes.dialect import Said, read_caption
from schemas.json_text import parse_json

CAPTIONS = "captions.jsonl"
_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class JudgedCaption:
    """A caption and what became of it."""

    id: str
    caption: str
    said: Said
    verdicts: tuple[Agreement, ...]
    """Of each sample, in the order in which they were drawn."""
    shown: Seen
    """What is seen in the first."""
    best: int | None
    """The sample with the highest score by the contrastive model; None if it scored none."""
    files: tuple[Path, ...] = field(repr=False)
    """Pictures of the samples."""

    @property
    def group(self) -> str:
        """What is asked for: the part of the id before its number, or how many things there are."""
        name = self.id.rpartition("-")[0]
        return name or f"{len(self.said.things)} things"


@dataclass(frozen=True, kw_only=True)
class _Sample:
    id: str
    caption: str
    file: Path
    score: float | None


def judged_captions(judge: SceneJudge, folder: Path) -> list[JudgedCaption]:
    """All captions of a folder that `dalle.generate` left.

    Raises:
        ValueError: if a caption is none of the dialect, or a sample's picture was not kept.
    """
    samples = list(_samples(folder / SAMPLES))
    said = {one.id: read_caption(one.caption) for one in samples}
    pictures = (decode(read_picture(one.file)) for one in samples)
    found = list(_see_all(judge, pictures))
    by_caption: dict[str, list[int]] = {}
    for index, one in enumerate(samples):
        by_caption.setdefault(one.id, []).append(index)
    judged = []
    for id_, indices in by_caption.items():
        scores = [samples[index].score for index in indices]
        best = None if None in scores else int(np.argmax(np.array(scores, np.float64)))
        judged.append(
            JudgedCaption(
                id=id_,
                caption=samples[indices[0]].caption,
                said=said[id_],
                verdicts=tuple(agreement(found[index], said[id_]) for index in indices),
                shown=found[indices[0]],
                best=best,
                files=tuple(samples[index].file for index in indices),
            )
        )
    return judged


def _samples(table: Path) -> Iterator[_Sample]:
    for row in sample_rows(table):
        if row["file"] is None:
            raise ValueError(
                f"{table}: the pictures of some samples were not kept; draw them without --keep, so that all are judged"
            )
        caption, score = str(row["caption"]), row.get("score")
        yield _Sample(
            id=str(row.get("caption_id", caption)), caption=caption, file=table.parent / row["file"], score=score
        )


def _see_all(judge: SceneJudge, pictures: Iterator[np.ndarray]) -> Iterator[Seen]:
    some: list[np.ndarray] = []
    for picture in pictures:
        some.append(picture)
        if len(some) == _AT_ONCE:
            yield from see(judge, some)
            some = []
    yield from see(judge, some)


@dataclass(frozen=True, kw_only=True)
class Originals:
    """True drawings of captions: how often the judge reads them rightly, themselves and their reconstructions."""

    drawings: tuple[Agreement, ...]
    reconstructions: tuple[Agreement, ...]
    """Empty without a dVAE."""


def side_of(sets: Mapping[str, Sequence[JudgedCaption]]) -> int:
    """The side of the pictures that were drawn, pixels.

    Args:
        sets: the captions of each, by name.

    Raises:
        ValueError: if sets have pictures of different sides, which true drawings cannot be shrunk to at once.
    """
    sides = {name: len(decode(read_picture(captions[0].files[0]))) for name, captions in sets.items() if captions}
    if len(set(sides.values())) > 1:
        said = ", ".join(f"{name} {side}" for name, side in sides.items())
        raise ValueError(f"--drawn: the pictures have sides of {said} pixels, expected one for all; judge them apart")
    return next(iter(sides.values()), 0)


def judged_originals(judge: SceneJudge, folder: Path, dvae: DVAEEncoder | None, side: int) -> dict[str, Originals]:
    """What the judge says of true drawings, by the part of their names before the number.

    Args:
        judge: in use.
        folder: of pictures with captions.jsonl (file, captions).
        dvae: by which they are encoded and decoded; None for the drawings alone.
        side: to which they are shrunk first, pixels: that of the pairs, and of what is drawn.

    Raises:
        ValueError: if a caption is none of the dialect.
    """
    lines = [parse_json(line) for line in (folder / CAPTIONS).read_bytes().splitlines()]
    said = [read_caption(line["captions"][0]) for line in lines]
    drawings = [resize(decode((folder / line["file"]).read_bytes()), side, "center_crop") for line in lines]
    seen = [agreement(*pair) for pair in zip(see(judge, drawings), said, strict=True)]
    again: list[Agreement] = []
    if dvae is not None:
        again = [agreement(*pair) for pair in zip(see(judge, _reconstructed(dvae, drawings)), said, strict=True)]
    names = [str(line["file"]).rpartition("-")[0] for line in lines]
    return {
        name: Originals(
            drawings=tuple(one for one, of in zip(seen, names, strict=True) if of == name),
            reconstructions=tuple(one for one, of in zip(again, names, strict=False) if of == name),
        )
        for name in dict.fromkeys(names)
    }


def _reconstructed(dvae: DVAEEncoder, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    decoded = []
    for first in range(0, len(pictures), _AT_ONCE):
        some = torch.from_numpy(np.stack(pictures[first : first + _AT_ONCE])).permute(0, 3, 1, 2)
        pixels = dvae.decode(dvae.encode(some)).permute(0, 2, 3, 1)
        decoded += list((pixels.float().numpy() * 255).round().clip(0, 255).astype(np.uint8))
    return decoded


def as_json(captions: Sequence[JudgedCaption]) -> bytes:
    """A line for each caption: what was right in each of its samples."""
    lines = (
        {"id": one.id, "caption": one.caption, "right": [v.all for v in one.verdicts], "best": one.best}
        for one in captions
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
