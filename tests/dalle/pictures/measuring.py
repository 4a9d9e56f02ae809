"""How much memory decoding takes, measured in a process that has done nothing before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dalle.pictures.images import MAX_PIXELS, UndecodableImage, open_picture
from dalle.sandbox import Answer, Limits, Session, nursery
from pipelines.stages.decode import PictureOptions, to_stored

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def decoded(data: bytes) -> tuple[Any, bytes]:
    """In the process: what it took, what it was said to take, and what is wrong with the picture."""
    _RESET.write_text("5")
    before = _bytes("VmRSS")
    told, why = 0, ""
    try:
        picture = open_picture(data)
        told = picture.memory()
        picture.pixels()
    except UndecodableImage as error:
        why = error.reason
    return [_bytes("VmHWM") - before, told, why], b""


def stored(data: bytes, **options: Any) -> tuple[Any, bytes]:
    """The same of all that is done to a fetched picture."""
    _RESET.write_text("5")
    before = _bytes("VmRSS")
    result = to_stored(data, PictureOptions(**options))
    return [_bytes("VmHWM") - before, MAX_PIXELS, result.problem.reason if result.problem else ""], result.data


def in_a_new_process(function: Any, data: bytes, memory: int) -> Answer:
    """The answer of a worker that is forked for this alone."""
    with Session(function, Limits(memory=memory, seconds=60)) as session:
        ((_, answer),) = [*session.push(0, data), *session.flush()]
    mine = nursery.nursery()
    while mine._free:
        mine._free.pop().close()
    return answer


def _bytes(name: str) -> int:
    return next(1024 * int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name))
