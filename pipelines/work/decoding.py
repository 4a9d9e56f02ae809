"""Fetched bytes become stored pictures in a process of their own, so that a hostile one costs its row and no more."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dalle.pictures.apart import picture_limits
from dalle.pictures.resize import EncodeFormat
from dalle.sandbox import Answer, Limits, Session
from pipelines.running.row_border import unexpected
from pipelines.stages.decode import PictureOptions, Stored, to_stored
from pipelines.stages.filter import Thresholds, image_problem
from schemas.reasons import NotKept

T = TypeVar("T")

_TO_ENCODE: dict[EncodeFormat, float] = {"jpg": 0.1e-6, "png": 4e-6, "webp": 0.5e-6}
"""Seconds of the processor a pixel, twice what was measured at its slowest: smooth pictures as PNG of level 9."""


class Decoding(Generic[T]):
    """Makes stored pictures of fetched bytes.

    Args:
        options: what a stored picture looks like.
        thresholds: what pictures are refused by.
    """

    def __init__(self, options: PictureOptions, thresholds: Thresholds) -> None:
        function = functools.partial(_store, options=options, thresholds=thresholds)
        self._session: Session[T] = Session(function, limits_of(options))

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.__exit__(kind, error, trace)

    def push(self, token: T, data: bytes) -> Iterator[tuple[T, Stored, float]]:
        """Have bytes decoded; gives what has become of earlier ones, with seconds of the processor's time."""
        return _all_stored(self._session.push(token, data))

    def flush(self) -> Iterator[tuple[T, Stored, float]]:
        """What has become of the rest."""
        return _all_stored(self._session.flush())


def limits_of(options: PictureOptions) -> Limits:
    """What making a stored picture may take: to decode it, and to encode one as large as may be."""
    limits = picture_limits(options.max_pixels)
    is_square = options.resize_mode in ("center_crop", "border") and not options.resize_only_if_bigger
    pixels = options.image_size**2 if is_square else options.most_stored
    return replace(limits, seconds=limits.seconds + pixels * _TO_ENCODE[options.encode_format])


def _store(data: bytes, *, options: PictureOptions, thresholds: Thresholds) -> tuple[dict[str, Any], bytes]:
    """In the other process; what it gives is spelled as JSON and bytes."""
    stored = to_stored(data, options, functools.partial(image_problem, limits=thresholds))
    problem = stored.problem and [stored.problem.reason, stored.problem.message]
    return {"columns": stored.columns, "problem": problem}, stored.data


def _all_stored(answers: Iterable[tuple[T, Answer]]) -> Iterator[tuple[T, Stored, float]]:
    return ((token, _stored(answer), answer.seconds) for token, answer in answers)


def _stored(answer: Answer) -> Stored:
    if answer.fault:
        return Stored(problem=NotKept(f"decoder-{answer.fault}", f"{answer.message}, also alone"))
    if answer.raised:
        return Stored(problem=unexpected(answer.raised, "decode"))
    problem = answer.value["problem"]
    return Stored(answer.data, answer.value["columns"], NotKept(*problem) if problem else None)
