"""What `evaluation.json` says beside the options: what was compared, the lineage behind it, and all that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dalle.contrastive.reranker import same_model
from dalle.evaluation.blur import DEFINITION
from dalle.evaluation.caption_match import AMONG, CaptionMatch
from dalle.evaluation.caption_match import DEFINITION as MATCH
from dalle.evaluation.judging import Judge, Task
from dalle.evaluation.measured import Measured, warnings_of
from dalle.evaluation.report import inputs_json, measured_json, statistics_json
from dalle.evaluation.statistics import Statistics, write_statistics
from schemas.folder import Folder
from schemas.manifest import versions

STATISTICS = "statistics"
_MAKE_THE_NUMBERS = ("numpy", "opencv-python-headless", "pillow", "torch")


def figures(
    judge: Judge, measured: Sequence[Measured], matches: Sequence[CaptionMatch], best: Sequence[Measured] = ()
) -> dict[str, Any]:
    """All that was found, as JSON; `best` are numbers of the best of the first N samples."""
    task, warnings = judge.task, warnings_of(measured)
    inputs, lineage = [inputs_json("samples", task.samples, judge.inputs["samples"])], list(task.samples.lineage)
    if isinstance(task.reference, Statistics):
        inputs.append(statistics_json(task.reference))
    elif task.reference is not None:
        inputs.append(inputs_json("reference", task.reference, judge.inputs["reference"]))
        lineage += [one for one in task.reference.lineage if one not in lineage]
    for given in inputs:
        if given.get("unreadable"):
            warnings.append(f"{len(given['unreadable']):,} of {given['given']} cannot be read and were left out")
    if lacking := getattr(task.samples, "captions_missing", 0):
        warnings.append(f"{lacking:,} of the captions that were drawn have no picture in {task.samples.name}")
    said = {
        "inputs": inputs,
        "lineage": lineage,
        "blur": DEFINITION,
        "measured": [measured_json(one) for one in measured],
        "warnings": warnings + _warnings(task, matches),
        "versions": versions(*_MAKE_THE_NUMBERS),
    }
    if best:
        said["best_of"] = [measured_json(one) for one in best]
    if task.reranker is not None:
        said["caption_match"] = {
            "by": task.reranker.name,
            "fingerprint": task.reranker.fingerprint,
            "definition": MATCH,
            "seed": task.seed,
            "of": [match.to_json() for match in matches],
        }
    return said


def _warnings(task: Task, matches: Sequence[CaptionMatch]) -> list[str]:
    found = []
    for match in matches:
        if match.without_caption:
            found.append(f"{match.without_caption:,} pictures of the {match.side} have no caption to be matched with")
        if match.among < AMONG:
            found.append(
                f"the right caption of the {match.side} was looked for among {match.among} and not {AMONG}, for no "
                "more differ; compare the recall only with that among as many"
            )
    chosen_by = getattr(task.samples, "chosen_by", None)
    if task.reranker is not None and chosen_by is not None and same_model(chosen_by, task.reranker.fingerprint):
        found.append(
            f"the samples were chosen by {task.reranker.name}, which also says how well they match their captions: it "
            "favours them, so --match_by another one"
        )
    return found


def write_all_statistics(folder: Folder, measured: Sequence[Measured]) -> None:
    """Leave mean and covariance of whatever was compared."""
    for one in measured:
        for side, statistics in one.statistics.items():
            said = replace(statistics, choices={**one.scale.choices, "blur": one.radius})
            write_statistics(folder, f"{STATISTICS}/{side}-{one.scale.name}-blur-{one.radius:g}.npz", said)
