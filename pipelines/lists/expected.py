"""A file that is written otherwise than it is read is one sentence, not a dataset of bad rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

FIRST = 1_000
"""Records of a file of which one at least has to be what is expected."""


def expected(records: Iterable[T], fits: Callable[[T], bool | None], wrong: Callable[[int], str]) -> Iterator[T]:
    """The same records, if not all of the first are of another kind.

    Args:
        records: of a file, in order.
        fits: whether one is of the kind that is expected; None if it says nothing, as an empty line.
        wrong: the sentence where none of so many is.

    Raises:
        ValueError: if of the first thousand that say something, or of all where there are fewer, none is.
    """
    records = iter(records)
    held: list[T] = []
    bad = 0
    for record in records:
        held.append(record)
        if (is_right := fits(record)) is not None:
            if is_right:
                break
            bad += 1
            if bad == FIRST:
                raise ValueError(wrong(bad))
    else:
        if bad:
            raise ValueError(wrong(bad))
    yield from held
    yield from records


def none_of(count: int, expectation: str) -> str:
    """What none of so many lines is, for a message."""
    return f"{'its only line is not' if count == 1 else f'none of its first {count:,} lines is'} {expectation}"
