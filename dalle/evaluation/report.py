"""An evaluation as a table in the terminal, and as what `evaluation.json` says of its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from dalle.evaluation.caption_match import CaptionMatch
from dalle.evaluation.features import FeatureSet
from dalle.evaluation.measured import Comparison, Measured
from dalle.evaluation.pictures import Source
from dalle.evaluation.statistics import Statistics
from schemas.commands.printing import printable

SOLID, DASHED = "──", "╌╌"
"""As the lines of the plot: all references, and those without the overlap."""


def tables(measured: Sequence[Measured]) -> Iterator[Table]:
    """One table a scale, a column a radius, or a number of samples of which the best are measured."""
    for scale in dict.fromkeys(one.scale.name for one in measured):
        of = [one for one in measured if one.scale.name == scale]
        lines = [("samples", [f"{one.samples:,}" for one in of])]
        lines += _distances(of) if of[0].comparisons else []
        for name in of[0].scores:
            scores = [one.scores[name] for one in of]
            lines.append((f"IS {name}", [f"{score.mean:.2f} ± {score.std:.2f}" for score in scores]))
        table = Table(title=printable(title(of[0])), title_justify="left", box=None, pad_edge=False)
        table.add_column("blur radius" if of[0].best_of is None else "best of the first")
        for one in of:
            table.add_column(f"{one.radius:g}" if one.best_of is None else f"{one.best_of:,}", justify="right")
        for name, cells in lines:
            table.add_row(name, *cells)
        yield table


def match_table(matches: Sequence[CaptionMatch], by: str) -> Table:
    """How well pictures match their captions, a line a side."""
    table = Table(title=printable(f"caption match by {by}"), title_justify="left", box=None, pad_edge=False)
    for name in ("", "pictures", "score", "recall of the caption", "among"):
        table.add_column(name, justify="right" if name else "left")
    for one in matches:
        score, recall = one.score, one.recall
        table.add_row(
            one.side,
            f"{one.pictures:,}",
            f"{score.value:.4f} ± {score.standard_error:.4f}",
            f"{100 * recall.value:.1f} ± {100 * recall.standard_error:.1f} %",
            f"{one.among}",
        )
    return table


def title(one: Measured) -> str:
    """What the numbers of a scale are, with whatever is not what everybody uses."""
    choices = one.scale.choices
    if "features" in choices:
        return f"{one.scale.metric} ({choices['fingerprint']}); this is no FID"
    other = "" if choices["weights_known"] else ", NOT those that everybody uses"
    return f"{one.scale.metric}, resized as {choices['resize']}; weights: {choices['weights']}{other}"


def measured_json(one: Measured) -> dict[str, Any]:
    """What `evaluation.json` says of a scale at a radius."""
    return {
        "scale": one.scale.name,
        "metric": one.scale.metric,
        "choices": dict(one.scale.choices),
        "blur": one.radius,
        **({} if one.best_of is None else {"best_of": one.best_of}),
        "samples": one.samples,
        "distances": [_comparison_json(each) for each in one.comparisons],
        "inception_scores": {
            score.layer.name: {
                **one.scores[score.layer.name].to_json(),
                "by": score.extractor.name,
                "order": "as given"
                if score.layer.shuffle_seed is None
                else f"shuffled, seed {score.layer.shuffle_seed}",
            }
            for score in one.scale.scores
        },
    }


def inputs_json(name: str, source: Source, features: FeatureSet) -> dict[str, Any]:
    """What `evaluation.json` says of a side."""
    return {
        "name": name,
        "given": source.name,
        "kind": source.kind,
        "sha256": features.fingerprint,
        "pictures": len(features),
        "unreadable": [{"id": one, "why": why} for one, why in features.unreadable],
    }


def statistics_json(statistics: Statistics) -> dict[str, Any]:
    """The same of bare statistics."""
    said = dict(statistics.choices) or "nobody has said what they were made with"
    return {"name": "reference", "given": statistics.name, "kind": "statistics", "made_with": said}


def _comparison_json(one: Comparison) -> dict[str, Any]:
    return {
        "references": "without the overlap" if one.without_overlap else "all",
        "reference_pictures": one.references,
        "value": one.distance,
        "infinity": None if one.extrapolation is None else one.extrapolation.to_json(),
        "kernel_distance": None if one.kernel is None else one.kernel.to_json(),
    }


def _distances(of: Sequence[Measured]) -> list[tuple[str, list[str]]]:
    word, kernel = ("distance", "kernel distance") if of[0].scale.name == "features" else ("FID", "KID")
    lines = []
    for number, first in enumerate(of[0].comparisons):
        each = [one.comparisons[number] for one in of]
        mark, what = (DASHED, " without overlap") if first.without_overlap else (SOLID, "")
        lines.append((f"{mark} {word}{what}", [f"{one.distance:.2f}" for one in each]))
        if any(one.extrapolation for one in each):
            lines.append((f"{mark} {word}∞", [f"{e.value:.2f}" if (e := one.extrapolation) else "" for one in each]))
        if any(one.kernel for one in each):
            lines.append(
                (f"{mark} {kernel} x 1000", [f"{1000 * one.kernel.mean:.2f}" if one.kernel else "" for one in each])
            )
    return lines
