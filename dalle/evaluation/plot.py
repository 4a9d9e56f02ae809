"""Distance and Inception Score by the radius of the blur, or by the samples the best were chosen from (Figure 9).

Solid lines are of all references, dashed ones of those that the training data hold no copy of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dalle.evaluation.measured import Measured
from dalle.evaluation.report import title
from dalle.pictures.plots import empty_figure, png

_INCH = (9.0, 3.6)


def draw_plot(measured: Sequence[Measured]) -> bytes:
    """A PNG, two panels a scale: scales cannot be compared, so each has axes of its own."""
    scales = list(dict.fromkeys(one.scale.name for one in measured))
    figure = empty_figure(_INCH[0], _INCH[1] * len(scales))
    panels = figure.subplots(len(scales), 2, squeeze=False)
    for row, scale in enumerate(scales):
        lines = sorted((one for one in measured if one.scale.name == scale), key=_place)
        _draw_distances(panels[row][0], lines)
        _draw_scores(panels[row][1], lines)
        panels[row][0].set_title(title(lines[0])[:110], fontsize=7, loc="left")
    return png(figure)


def _draw_distances(panel: Any, lines: Sequence[Measured]) -> None:
    places = [_place(one) for one in lines]
    for number, first in enumerate(lines[0].comparisons):
        values = [one.comparisons[number].distance for one in lines]
        style, label = ("--", "without the overlap") if first.without_overlap else ("-", "all references")
        panel.plot(places, values, style, marker="o", color="C0", label=label)
    panel.set_ylabel(lines[0].scale.metric.split(" (")[0])
    _finish(panel, lines)


def _draw_scores(panel: Any, lines: Sequence[Measured]) -> None:
    for number, name in enumerate(lines[0].scores):
        values = [one.scores[name] for one in lines]
        panel.errorbar(
            [_place(one) for one in lines],
            [value.mean for value in values],
            [value.std for value in values],
            fmt="-o",
            capsize=2,
            color=f"C{number + 1}",
            label=name,
        )
    panel.set_ylabel("Inception Score")
    _finish(panel, lines)


def _place(one: Measured) -> float:
    return one.radius if one.best_of is None else one.best_of


def _finish(panel: Any, lines: Sequence[Measured]) -> None:
    if lines[0].best_of is None:
        panel.set_xlabel("blur radius (pixels of 256)")
    else:
        panel.set_xscale("log", base=2)
        panel.set_xticks([_place(one) for one in lines], [f"{one.best_of:,}" for one in lines])
        panel.set_xlabel("samples of which the best is taken")
    panel.grid(alpha=0.3)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=7)
    else:
        panel.set_axis_off()
