"""Which pairs of a set are on the review page, and what is known of those that are not.

Tables are streamed: memory grows with the pairs on the page and the references, not with the pictures.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import pyarrow.parquet as pq

from pipelines.copies.overlap import DENYLIST_FILE, MATCHES_FILE, NEAREST_FILE
from schemas.folder import Folder
from schemas.matches import WITHIN_SET, Decisions

BARS = 100
"""Bars of the histogram between similarity 0 and 1; each is 0.01 wide."""
_STEPS = 1000
_AT_ONCE = 20_000


class Pair(NamedTuple):
    """A picture and what it is compared with."""

    key: str
    reference: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class SetOnPage:
    """A reference set as the page shows it."""

    name: str
    threshold: float
    pairs: list[Pair]
    """Those that are shown, from most to least alike."""
    decided_by: dict[Pair, str]
    """Those of them that the denylist names."""
    total: int
    """Pairs there are, shown or not."""
    bars: dict[int, int]
    """All pairs, by similarity in hundredths."""
    steps: list[float]
    """Where the threshold can be put, ascending; below the first not all pairs are known."""
    pictures_left_out: list[int]
    """By the step that their best pair reaches: pictures none of whose pairs is shown."""
    references_left_out: list[int]
    """The same for references."""
    best_not_shown: tuple[dict[str, float], dict[str, float]]
    """Of pictures and of references that are shown: the best similarity of their pairs that are not."""


def choose(
    folder: Folder,
    thresholds: Mapping[str, float],
    floors: Mapping[str, float],
    decisions: Decisions,
    most: int,
) -> list[SetOnPage]:
    """The sets with the pairs to show: what a person decided on, then what is nearest to the threshold.

    Args:
        folder: where dedup left its tables.
        thresholds: by set.
        floors: the least similarity that matches hold, by set; the threshold where none is given.
        decisions: a person's.
        most: pairs on the page; a set that has few leaves its share to the others.
    """
    nearest = []
    for name, threshold in thresholds.items():
        decided = {(key, reference) for (of, key, reference) in decisions.pairs if of == name}
        lower = min(threshold, floors.get(name, threshold))
        nearest.append(
            _nearest_to_threshold(_pairs(folder, name, lower), threshold, decided, most),
        )
    shares = _share([len(pairs) for pairs in nearest], most)
    return [
        _look_at(folder, name, threshold, min(threshold, floors.get(name, threshold)), pairs[:share])
        for (name, threshold), pairs, share in zip(thresholds.items(), nearest, shares, strict=True)
    ]


def _nearest_to_threshold(
    pairs: Iterable[Pair], threshold: float, decided: set[tuple[str, str]], most: int
) -> list[Pair]:
    return heapq.nsmallest(
        most, pairs, key=lambda pair: (pair[:2] not in decided, abs(pair.similarity - threshold), *pair[:2])
    )


def _share(wanted: Sequence[int], most: int) -> list[int]:
    """As equal as can be, nobody more than it wants."""
    shares, left = [0] * len(wanted), most
    for done, index in enumerate(sorted(range(len(wanted)), key=lambda index: wanted[index])):
        shares[index] = min(wanted[index], left // (len(wanted) - done))
        left -= shares[index]
    return shares


def _look_at(folder: Folder, name: str, threshold: float, lower: float, shown: Sequence[Pair]) -> SetOnPage:
    first = math.ceil(lower * _STEPS)
    steps = sorted({step / _STEPS for step in range(first, _STEPS + 1)} | {threshold})
    chosen = set(shown)
    keys, references = {pair.key for pair in chosen}, {pair.reference for pair in chosen}
    bars: Counter[int] = Counter()
    pictures_left_out, references_left_out = [0] * len(steps), [0] * len(steps)
    by_picture: dict[str, float] = {}
    by_reference: dict[str, float] = {}
    for key, pairs in itertools.groupby(_pairs(folder, name, lower), key=itemgetter(0)):
        best = -math.inf
        for pair in pairs:
            bars[math.floor(pair.similarity * BARS)] += 1
            if pair not in chosen:
                best = max(best, pair.similarity)
                by_reference[pair.reference] = max(by_reference.get(pair.reference, -math.inf), pair.similarity)
        if key in keys:
            if best > -math.inf:
                by_picture[key] = max(by_picture.get(key, -math.inf), best)
        elif best >= steps[0]:
            pictures_left_out[bisect.bisect_right(steps, best) - 1] += 1
    for reference, best in by_reference.items():
        if reference not in references and best >= steps[0]:
            references_left_out[bisect.bisect_right(steps, best) - 1] += 1
    denied = (Pair(*row[:3]) for row in _rows(folder, DENYLIST_FILE, name))
    ways = (row[3] for row in _rows(folder, DENYLIST_FILE, name))
    return SetOnPage(
        name=name,
        threshold=threshold,
        pairs=sorted(chosen, key=lambda pair: (-pair.similarity, pair.key, pair.reference)),
        decided_by={pair: way for pair, way in zip(denied, ways, strict=True) if pair in chosen},
        total=sum(bars.values()),
        bars=dict(sorted(bars.items())),
        steps=steps,
        pictures_left_out=pictures_left_out,
        references_left_out=references_left_out,
        best_not_shown=(by_picture, {name: best for name, best in by_reference.items() if name in references}),
    )


def _pairs(folder: Folder, name: str, lower: float) -> Iterator[Pair]:
    """Each pair of a set once: its matches, each reference's nearest picture, what was taken out all the same.

    Those of a picture that reach `lower` come one after another, but for the few that only the last two know of.
    """
    if name == WITHIN_SET:
        yield from (Pair(*row[:3]) for row in _rows(folder, DENYLIST_FILE, name))
        return
    nearest = {pair[1]: Pair(*pair) for pair in _rows(folder, NEAREST_FILE, name) if pair[0] is not None}
    unseen = dict(nearest)
    for row in _rows(folder, MATCHES_FILE, name):
        pair = Pair(*row)
        if unseen.get(pair.reference) == pair:
            del unseen[pair.reference]
        yield pair
    yield from unseen.values()
    for row in _rows(folder, DENYLIST_FILE, name):
        pair = Pair(*row[:3])
        if pair.similarity < lower and nearest.get(pair.reference) != pair:
            yield pair


def _rows(folder: Folder, file: str, name: str) -> Iterator[tuple]:
    """Key, reference, similarity and, of the denylist, who decided: the rows of a set."""
    columns = ["key", "reference_id", "similarity"] + ["decided_by"] * (file == DENYLIST_FILE)
    with folder.open(file) as opened:
        for batch in pq.ParquetFile(opened).iter_batches(_AT_ONCE, columns=["reference_set", *columns]):
            rows = batch.to_pydict()
            for index, of in enumerate(rows["reference_set"]):
                if of == name:
                    yield tuple(rows[column][index] for column in columns)
