"""`--plan` of an evaluation: what would be drawn and judged, and for how long."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np

from dalle.evaluation.blur import blurred
from dalle.evaluation.decoding import decode_as_tools_do
from dalle.evaluation.judging import Judge
from dalle.evaluation.output import EVALUATION
from dalle.evaluation.pictures import Source
from dalle.evaluation.samples import GeneratedSource
from dalle.evaluation.scales import Scale
from dalle.evaluation.statistics import Statistics
from dalle.evaluation.store import Store
from schemas.folder import RECIPE, Folder
from schemas.planning import Plan, State, with_hours

_TRIED = 16
"""Pictures whose features are computed."""


def plan(folder: Folder, judge: Judge, scales: Sequence[Scale], radii: Sequence[float], drawing: Plan | None) -> Plan:
    """What an evaluation would do; writes nothing.

    It is never done: pictures may have changed, and are looked at again; their features are not computed again.

    Args:
        folder: of the evaluation.
        judge: of its pictures.
        scales: by which they are judged.
        radii: of the blurs.
        drawing: the plan of what is drawn first, if anything is.
    """
    reference = judge.task.reference
    sides = [judge.task.samples, *([] if reference is None or isinstance(reference, Statistics) else [reference])]
    there = [one for one in sides if not isinstance(one, GeneratedSource)]
    pictures, seconds = sum(len(one) for one in sides), 0.0
    for scale in scales:
        stores = [Store(judge.task.cache, scale.extractor, radius) for radius in radii]
        missing = sum(max(0, pictures - len(store)) for store in stores)
        if missing and not there:
            seconds = float("nan")
        elif missing:
            seconds += missing * _seconds_a_picture(there[0], scale, radii[-1])
    state: State = "goes on" if folder.exists(RECIPE) else "to do"
    why = "it is judged each time, and features are kept" if folder.exists(EVALUATION) else ""
    made = Plan(state=state, why=why, all=pictures, unit="picture", figures={"pictures": pictures})
    if judge.task.reranker is not None and not scales and drawing is None:
        return with_hours(made, None, "", "how long a contrastive model takes is not tried")
    if seconds != seconds or (drawing is not None and drawing.hours is None):
        return with_hours(made, None, "", "no pictures are there yet that could be tried")
    drawn = 0.0 if drawing is None or drawing.hours is None else 3600 * drawing.hours
    return with_hours(made, seconds + drawn, "for a few pictures were judged here")


def _seconds_a_picture(source: Source, scale: Scale, radius: float) -> float:
    """Seconds for the features of a picture."""
    few = list(itertools.islice(source.pictures(), _TRIED))
    extractor, begun = scale.extractor, time.monotonic()
    files = ((name, data) for name, data in few if isinstance(data, bytes))
    pixels = [each for _, each in decode_as_tools_do(files) if not isinstance(each, str)]
    pixels += [data for _, data in few if not isinstance(data, bytes)]
    if not pixels:
        return 0.0
    prepared = [extractor.preprocess(blurred(each, radius)) for each in pixels]
    full = [prepared[place % len(prepared)] for place in range(extractor.batch)]
    read = (time.monotonic() - begun) / len(prepared)
    begun = time.monotonic()
    extractor.embed(np.stack(full))
    return read + (time.monotonic() - begun) / extractor.batch
