"""`--plan` of a drawing: what of it is drawn, and for how long the rest would take."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace

import numpy as np

from dalle.drawing.generator import DECODED, Codes, Generator
from dalle.drawing.job import Drawing
from schemas.draft import NEXT
from schemas.folder import RECIPE, Folder
from schemas.journal import is_between
from schemas.manifest import MANIFEST
from schemas.planning import PATIENCE, Plan, State, with_hours

_WHY = {
    "overwrite": "--incremental_mode overwrite is given",
    "renew": "models or captions have changed",
    "incremental": "",
}


class _Enough(Exception):
    """Positions were drawn for long enough to know the rate."""


def plan(drawing: Drawing) -> Plan:
    """What a drawing would do; writes nothing.

    Args:
        drawing: that was checked.

    Raises:
        ValueError: if its folder holds something else.
    """
    options, folder = drawing.options, Folder(drawing.options.output_folder)
    samples = len(drawing.captions) * options.samples
    if is_between(folder):
        return Plan(state="goes on", done=samples, all=samples, unit="sample", hours=0.0, why="it is put in place")
    if drawing.is_drawn:
        return Plan(state="done", done=samples, all=samples, unit="sample", hours=0.0)
    done = drawing.drawn_so_far
    state: State = "goes on" if folder.inside(NEXT).exists(RECIPE) and drawing.has_begun else "to do"
    if state == "to do" and folder.exists(MANIFEST):
        state = "anew"
    why = _WHY[options.incremental_mode] if state == "anew" else ""
    found = Plan(state=state, done=done, all=samples, unit="sample", why=why)
    batch = options.captions_at_once * options.samples_at_once
    a_batch = _seconds_a_batch(drawing)
    a_picture = _seconds_a_picture(drawing.generator, drawing.captions[0].text)
    seconds = math.ceil((samples - done) / batch) * a_batch + (samples - done) * a_picture
    figures = {"seconds_a_batch": a_batch, "seconds_a_picture": a_picture}
    return with_hours(replace(found, figures=figures), seconds, "for a few codes were drawn here")


def _seconds_a_batch(drawing: Drawing) -> float:
    """Seconds for the codes of a batch, of which those of the first positions are drawn."""
    options, begun = drawing.options, time.monotonic()
    first: tuple[int, float] | None = None
    last = (0, begun, 1)

    def progress(done: int, of: int) -> None:
        nonlocal first, last
        last = (done, time.monotonic(), of)
        if first is None:
            first = (done, last[1])
        elif last[1] - first[1] > PATIENCE:
            raise _Enough

    captions = drawing.captions[: options.captions_at_once]
    samples = [range(options.samples_at_once) for _ in captions]
    with contextlib.suppress(_Enough):
        drawing.generator.draw_codes(
            captions, samples, options.seed, options.choosing, given=drawing.given, progress=progress
        )
    if first is None or last[0] == first[0]:
        return time.monotonic() - begun
    return first[1] - begun + (last[1] - first[1]) / (last[0] - first[0]) * (last[2] - first[0])


def _seconds_a_picture(generator: Generator, caption: str) -> float:
    """Seconds to make a picture of codes, and to score it."""
    codes = np.zeros((DECODED, generator.models.prior.config.codes), np.int64)
    begun = time.monotonic()
    generator.pictures([caption], [Codes(codes, [0] * DECODED, np.zeros(DECODED))])
    return (time.monotonic() - begun) / DECODED
