"""Single linkage: what was linked in any cell is one group, of which the largest picture stays and all others go.

In memory is what a linked picture needs, some 60 bytes, never what the whole dataset would.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.copies.within.numbering import PICTURE
from pipelines.copies.within.searching import LINK
from pipelines.vectors.components import join
from schemas.matches import DecidedBy

COPY = [("number", "<i8"), ("kept", "<i8"), ("kept_row", "<i4"), ("decided_by", "i1")]
"""A picture that goes, the one that stays, its row among its shard's vectors, and which of `DECIDED_BY`."""
DECIDED_BY = (DecidedBy.THRESHOLD, DecidedBy.EXACT, DecidedBy.PERSON)

_NODE = [*PICTURE, ("label", "<i8")]


def groups(links: Iterable[np.ndarray]) -> np.ndarray:
    """All linked pictures, by number, each with the least number of its group.

    Args:
        links: of each cell, with the fields of `searching.LINK`.

    Returns:
        [N] with the fields of `numbering.PICTURE` and `label`, that least number.
    """
    names = [name for name, _ in PICTURE]
    nodes = np.zeros(0, _NODE)
    for links_of_cell in links:
        if not len(links_of_cell):
            continue
        new = np.empty(len(links_of_cell), _NODE)
        for name in names:
            new[name] = links_of_cell[name]
        new["label"] = links_of_cell["number"]
        both = np.concatenate([nodes, new])
        _, first = np.unique(both["number"], return_index=True)
        merged = both[first]
        labels = np.searchsorted(merged["number"], merged["label"])
        one = np.searchsorted(merged["number"], links_of_cell["number"])
        least = np.searchsorted(merged["number"], links_of_cell["least"])
        merged["label"] = merged["number"][join(labels, one, least)]
        nodes = merged
    return nodes


def copies(nodes: np.ndarray, exact: np.ndarray, same: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The pictures that go: of each group all but the largest one, and of equally large ones the first stays.

    Args:
        nodes: what `groups` gave, of all links.
        exact: what `groups` gave, of exact copies alone.
        same: [S, 2] numbers of pictures that a person called copies.
        apart: [A, 2] numbers of pictures that a person called different: neither goes because of the other.

    Returns:
        [C] of type `COPY`, by number.
    """
    order = np.lexsort((nodes["number"], -nodes["area"], nodes["label"]))
    _, first, of = np.unique(nodes["label"][order], return_index=True, return_inverse=True)
    kept = np.empty(len(nodes), np.int64)
    kept[order] = order[first[of.ravel()]]
    pairs = np.empty(len(nodes), COPY)
    pairs["number"], pairs["kept"] = nodes["number"], nodes["number"][kept]
    pairs["kept_row"] = nodes["row"][kept]
    pairs["decided_by"] = ways_of(pairs, exact, same)
    return pairs[(pairs["number"] != pairs["kept"]) & ~_are(pairs, apart)]


def ways_of(copied: np.ndarray, exact: np.ndarray, same: np.ndarray) -> np.ndarray:
    """[N] which of `DECIDED_BY` it was for each of some pictures, of type `COPY`.

    Args:
        copied: pictures and those that are kept for them.
        exact: what `groups` gave of exact copies alone.
        same: [S, 2] numbers of pictures that a person called copies.
    """
    ways = np.zeros(len(copied), np.int8)
    if len(exact):
        bytes_of = [_labels(copied[name], exact) for name in ("number", "kept")]
        ways[(bytes_of[0] >= 0) & (bytes_of[0] == bytes_of[1])] = DECIDED_BY.index(DecidedBy.EXACT)
    ways[_are(copied, same)] = DECIDED_BY.index(DecidedBy.PERSON)
    return ways


def _labels(numbers: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """[N] the label of each picture's group of exact copies, -1 if it is in none."""
    positions = np.searchsorted(exact["number"], numbers).clip(max=len(exact) - 1)
    return np.where(exact["number"][positions] == numbers, exact["label"][positions], -1)


def links_of(pictures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pairs of pictures as a cell's links.

    Args:
        pictures: the pictures that are there, by number, with the fields of `numbering.PICTURE`.
        pairs: [P, 2] numbers; those of which one is not there are left out.
    """
    there = np.isin(pairs, pictures["number"]).all(1)
    one, other = np.sort(pairs[there], axis=1).T
    numbers = np.concatenate([one, other])
    links = np.empty(len(numbers), LINK)
    positions = np.searchsorted(pictures["number"], numbers)
    for name, _ in PICTURE:
        links[name] = pictures[name][positions]
    links["least"] = np.concatenate([one, one])
    return links


def pairs_of(numbers: Sequence[tuple[int, int]]) -> np.ndarray:
    """[P, 2] int64, the lesser first, in order."""
    return np.array(sorted({(min(pair), max(pair)) for pair in numbers}), np.int64).reshape(-1, 2)


def _are(copied: np.ndarray, wanted_pairs: np.ndarray) -> np.ndarray:
    """[N] whether a picture and the one that is kept for it are one of the pairs."""
    wanted = {tuple(pair) for pair in wanted_pairs.tolist()}
    if not wanted:
        return np.zeros(len(copied), bool)
    both = zip(copied["number"].tolist(), copied["kept"].tolist(), strict=True)
    return np.array([(min(pair), max(pair)) in wanted for pair in both], bool)
