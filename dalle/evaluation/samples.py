"""Pictures that a generation left, one of each caption, and those that a generator has yet to draw.

    drawn/samples.parquet   its column `file`, relative to it; of a caption's samples the one with the highest score

A caption that was asked for twice, under two ids, has two pictures, as in COCO, where some texts stand more than once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dalle.evaluation.sample_table import sample_rows
from schemas.commands.printing import one_line
from schemas.folder import Folder
from schemas.manifest import MANIFEST, lineage_from, read_manifest

SAMPLES = "samples.parquet"


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """What a generation left: one picture a caption."""

    table: Path
    captions: frozenset[str] | None = None
    """Those of which there are samples here; None if of all in the table."""
    best: Mapping[str, str | None]
    """By its file, relative to the table's folder, the caption of each picture; None where the table has none."""
    folder: Folder
    kind: str = "samples"
    lineage: Sequence[Mapping[str, Any]] = ()
    captions_missing: int = 0
    """Of the captions that were asked for, those without a picture."""
    chosen_by: str | None = None
    """Fingerprint of the contrastive model by which each picture was chosen among several; None if nobody says."""

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self.table)

    def best_of(self, first: int) -> SampleSource:
        """Of each caption the best of the first so many samples.

        Raises:
            ValueError: if nobody knows which it is, or its picture was not kept.
        """
        if first not in self._best_of:
            self._best_of[first] = open_samples(self.table, self.captions, first)
        return self._best_of[first]

    @functools.cached_property
    def _best_of(self) -> dict[int, SampleSource]:
        """Those that were asked for, of each of which the whole table was read."""
        return {}

    def picture(self, file: str) -> bytes:
        """The bytes of one of them.

        Raises:
            ValueError: if it is not there.
        """
        return read_picture(Path(self.folder.changeable(file)))

    def __len__(self) -> int:
        return len(self.best)

    def ids(self) -> Sequence[str]:
        """See `Source`."""
        return list(self.best)

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        """See `Source`.

        Raises:
            ValueError: if one is not there.
        """
        for file in self.best:
            yield file, self.picture(file)

    @property
    def has_captions(self) -> bool:
        """See `Source`."""
        return any(caption is not None for caption in self.best.values())

    def captions_of(self, ids: Sequence[str]) -> list[str | None]:
        """See `Source`."""
        return [self.best[file] for file in ids]


@dataclass(frozen=True, kw_only=True)
class GeneratedSource:
    """What a generator draws: as many pictures as captions, which must lie there when they are first asked for."""

    name: str
    """The prior, as the user gave it."""
    count: int
    folder: Path
    """What it draws into."""
    kind: str = "generator"
    has_captions: bool = True

    @functools.cached_property
    def drawn(self) -> SampleSource:
        """What was drawn.

        Raises:
            ValueError: if it is not whole.
        """
        return open_samples(self.folder / SAMPLES)

    def best_of(self, first: int) -> SampleSource:
        """See `SampleSource`."""
        return self.drawn.best_of(first)

    @property
    def lineage(self) -> Sequence[Mapping[str, Any]]:
        """The generation, the prior, and what is behind it."""
        return self.drawn.lineage

    @property
    def chosen_by(self) -> str | None:
        """See `SampleSource`."""
        return self.drawn.chosen_by

    def __len__(self) -> int:
        return self.count

    def ids(self) -> Sequence[str]:
        """See `Source`."""
        return self.drawn.ids()

    def pictures(self) -> Iterator[tuple[str, bytes | np.ndarray]]:
        """See `Source`."""
        return self.drawn.pictures()

    def captions_of(self, ids: Sequence[str]) -> list[str | None]:
        """See `Source`."""
        return self.drawn.captions_of(ids)


def open_samples(table: Path, captions: frozenset[str] | None = None, first: int | None = None) -> SampleSource:
    """One picture a caption: that of the highest score, or the first where none has one.

    Args:
        table: what `dalle.generate` left, or any table with the column `file` and, if wanted, caption, caption_id and
            score.
        captions: only samples of these.
        first: only the first so many samples of each caption; the best of them must have its picture.

    Raises:
        ValueError: if it is no such table, or names no picture.
        OSError: if it is not there.
    """
    folder = Folder(table.parent)
    wanted = None if captions is None else {one_line(caption) for caption in captions}
    best: dict[tuple[str, str], tuple[float, str | None, str | None]] = {}
    for row in sample_rows(table):
        if wanted is not None and "caption" not in row:
            raise ValueError(f"{table}: has no column caption, so the captions that were drawn cannot be found in it")
        caption, file = row.get("caption"), row["file"]
        identity = row.get("caption_id")
        of = (file, "") if caption is None else (one_line(caption), "" if identity is None else str(identity))
        if wanted is not None and of[0] not in wanted:
            continue
        if file is None if first is None else _sample_of(row, table) >= first:
            continue
        score = -math.inf if row.get("score") is None else float(row["score"])
        if of not in best or score > best[of][0]:
            best[of] = score, file, caption
    if first is not None:
        _check_drawn(best, table, first)
    if not best:
        raise ValueError(f"{table}: names no pictures{'' if wanted is None else ' of the captions that were drawn'}")
    chosen = {str(file): caption for _, file, caption in best.values()}
    if len(chosen) < len(best):
        raise ValueError(f"{table}: names one file for several captions; draw the pictures anew")
    manifest = read_manifest(folder) if folder.exists(MANIFEST) else None
    return SampleSource(
        table=table,
        captions=captions,
        best=chosen,
        folder=folder,
        lineage=lineage_from(manifest) if manifest else [],
        captions_missing=0 if wanted is None else len(wanted - {text for text, _ in best}),
        chosen_by=_chosen_by(manifest) if manifest else None,
    )


def _sample_of(row: Mapping[str, Any], table: Path) -> int:
    if row.get("sample") is None or row.get("score") is None or row.get("caption") is None:
        raise ValueError(
            f"{table}: has no column sample, score or caption, or not in all rows, so nobody knows the best of the "
            "first samples; draw with dalle.generate and a --reranker"
        )
    return int(row["sample"])


def _check_drawn(best: Mapping[tuple[str, str], tuple[float, str | None, str | None]], table: Path, first: int) -> None:
    """The best among the first samples of a caption may not have been kept."""
    lacking = [caption for _, file, caption in best.values() if file is None]
    if lacking:
        raise ValueError(
            f"{table}: of the first {first:,} samples the best is not kept, of {len(lacking):,} of {len(best):,} "
            f"captions; draw with --best_of {first}"
        )


def read_picture(path: Path) -> bytes:
    """The bytes of a picture.

    Raises:
        ValueError: if it is not there or cannot be read.
    """
    try:
        if not path.is_file():
            raise ValueError(f"{path}: is not there, or no plain file; put it back, or draw it anew")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give it back or take it out") from None


def _chosen_by(manifest: Mapping[str, Any]) -> str | None:
    """The re-ranker of a generation that drew several samples of each caption."""
    if manifest["options"].get("samples") in (None, 1):
        return None
    return next((one["sha256"] for one in manifest["inputs"] if one.get("name") == "reranker"), None)
