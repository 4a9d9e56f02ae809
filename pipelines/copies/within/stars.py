"""Who stays: from the greatest to the least, each picture that is like none that stays already.

So what goes is like one that stays, at or above the threshold, and of copies of copies the two ends need not go for
each other. The rule decides alone, whatever workers and blocks there were: a picture goes because of the greatest one
that it is like and that stays.

In memory is what a picture needs that is like a greater one, some 100 bytes, never what the whole dataset would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pipelines.copies.within.greater import EDGE, STATE
from pipelines.copies.within.groups import COPY

_AT_ONCE = 1 << 16
_UNKNOWN, _STAYS, _GOES = 0, 1, 2


@dataclass(frozen=True)
class Verdict:
    """What follows from some edges; who is not named here stays."""

    gone: np.ndarray
    """Pictures that go, by number, of type `COPY`; by the threshold as far as is known here."""
    unknown: np.ndarray
    """[U] int64 numbers, ascending: pictures of which more edges must be known."""


def judge(read: Callable[[], Iterable[np.ndarray]]) -> Verdict:
    """Who goes, as far as the edges tell.

    Args:
        read: gives all edges, in parts of type `EDGE`; called twice. A picture without edges stays.
    """
    lesser = np.unique(np.concatenate([np.zeros(0, np.int64), *(np.unique(part["number"]) for part in read())]))
    edges = _in_order(np.concatenate([np.zeros(0, EDGE), *(_up_to_who_stays(part, lesser) for part in read())]))
    status, reason = _decided(edges, lesser)
    goes = np.flatnonzero(status == _GOES)
    because = edges[reason[goes]]
    gone = np.zeros(len(goes), COPY)
    gone["number"], gone["kept"], gone["kept_row"] = lesser[goes], because["other"], because["other_row"]
    return Verdict(gone, lesser[status == _UNKNOWN])


def state_of(gone: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """What units that search again must know, of type `STATE`.

    Args:
        gone, unknown: numbers of pictures.
    """
    state = np.empty(len(gone) + len(unknown), STATE)
    state["number"] = np.concatenate([gone, unknown])
    state["gone"] = np.arange(len(state)) < len(gone)
    return state[np.argsort(state["number"])]


def still_open(edges: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Of edges those from pictures of which nothing is known, to pictures that are not gone."""
    unknown, gone = state["number"][~state["gone"]], state["number"][state["gone"]]
    return edges[np.isin(edges["number"], unknown) & ~np.isin(edges["other"], gone)]


def _up_to_who_stays(edges: np.ndarray, lesser: np.ndarray) -> np.ndarray:
    """Edges of one part up to each picture's first to one that surely stays; what comes behind it does not matter."""
    if not len(edges):
        return edges
    stays = _positions(edges["other"], lesser) < 0
    before: np.ndarray = np.cumsum(stays) - stays
    begins = np.ones(len(edges), bool)  # those of a picture stand together
    begins[1:] = edges["number"][1:] != edges["number"][:-1]
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    matters: np.ndarray = before == before[first]
    kept = edges[matters]
    kept["last"] &= ~stays[matters]
    return kept


def _in_order(edges: np.ndarray) -> np.ndarray:
    """Edges from the greatest picture to the least, those of each to the greatest other first; each pair once."""
    edges = edges[np.lexsort((edges["other"], -edges["other_area"], edges["number"], -edges["area"]))]
    again = np.zeros(len(edges), bool)
    again[1:] = (edges["number"][1:] == edges["number"][:-1]) & (edges["other"][1:] == edges["other"][:-1])
    first = np.flatnonzero(~again)
    last = np.logical_or.reduceat(edges["last"], first) if len(first) else edges["last"]
    edges = edges[first]
    edges["last"] = last  # behind which in one of the cells there may be more
    return edges


def _decided(edges: np.ndarray, lesser: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N] what becomes of each picture, and [N] because of which edge, of those that go."""
    status, reason = bytearray(len(lesser)), np.zeros(len(lesser), np.int64)
    current, result, is_open = -1, _STAYS, True
    for start in range(0, len(edges), _AT_ONCE):
        part = edges[start : start + _AT_ONCE]
        ones, others = _positions(part["number"], lesser).tolist(), _positions(part["other"], lesser).tolist()
        for row, (one, other, last) in enumerate(zip(ones, others, part["last"].tolist(), strict=True), start):
            if one != current:  # all of the one before was said
                if current >= 0:
                    status[current] = result
                current, result, is_open = one, _STAYS, True
            if not is_open:
                continue
            of_other = status[other] if other >= 0 else _STAYS
            if of_other == _STAYS:
                result, is_open, reason[one] = _GOES, False, row
            elif of_other == _UNKNOWN or last:
                result, is_open = _UNKNOWN, False
    if current >= 0:
        status[current] = result
    return np.frombuffer(status, np.uint8), reason


def _positions(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """[N] int64: where each number stands in an ascending array, -1 if it does not."""
    if not len(among):
        return np.full(len(numbers), -1, np.int64)
    positions = np.searchsorted(among, numbers).clip(max=len(among) - 1)
    return np.where(among[positions] == numbers, positions, -1)
