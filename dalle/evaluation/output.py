"""The folder that an evaluation leaves: what was there before, and what comes last.

_recipe.json      what is being judged, while it is not finished
_features/        features, kept for later runs
drawn/            what a generator drew, as `dalle.generate` leaves it
evaluation.json   last of all: options, inputs, lineage, numbers
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dalle.evaluation.captions import CAPTIONS, TEXTS
from dalle.evaluation.figures import STATISTICS
from dalle.evaluation.options import EvaluateOptions
from schemas.folder import RECIPE, Folder
from schemas.manifest import read_recipe
from schemas.options import options_json
from schemas.output_place import check_whose
from schemas.shapes import OBJECT, TEXT, misfit

EVALUATION, PLOT, BEST_OF = "evaluation.json", "evaluation.png", "best_of.png"
FEATURES, DRAWN = "_features", "drawn"
JOB = "evaluate"
FORMAT_VERSION = 1


def check_before(folder: Folder, options: EvaluateOptions) -> None:
    """Look at what is there.

    Raises:
        ValueError: if it is of another job, or of another evaluation that is not to be overwritten.
    """
    asked = options_json(options)
    check_whose(folder, JOB)
    before = _before(folder)
    had = asked if before is None else before["options"]
    names = [name for name, value in asked.items() if _differ(had.get(name), value)]
    if names and options.incremental_mode != "overwrite":
        raise ValueError(
            f"{folder}: holds an evaluation with another {', '.join(names)}; give another --output_folder, or "
            "--incremental_mode overwrite, which keeps the features"
        )


def begin(folder: Folder, options: EvaluateOptions) -> None:
    """Look at what is there, and write that the run has begun; the folder is held.

    Raises:
        ValueError: if it is of another job, or of another evaluation that is not to be overwritten.
    """
    check_before(folder, options)
    folder.sweep()
    folder.write_json(RECIPE, {"job": JOB, "inputs": [], "options": options_json(options)})
    for name in (EVALUATION, PLOT, BEST_OF, CAPTIONS, TEXTS):
        folder.remove(name)
    folder.remove_tree(STATISTICS)


def finish(folder: Folder, options: EvaluateOptions, figures: Mapping[str, Any]) -> None:
    """Write the numbers; from now on they are there."""
    said = {"format_version": FORMAT_VERSION, "job": JOB, "options": options_json(options)}
    folder.write_json(EVALUATION, {**said, **figures})
    folder.remove(RECIPE)


def _differ(before: Any, now: Any) -> bool:
    """Whether two values of an option differ otherwise than two spellings of a path do."""
    if isinstance(before, list) and isinstance(now, list):
        return len(before) != len(now) or any(map(_differ, before, now))
    if not isinstance(before, str) or not isinstance(now, str) or any(":" in text for text in (before, now)):
        return bool(before != now)
    return os.path.realpath(before) != os.path.realpath(now)


def _before(folder: Folder) -> dict[str, Any] | None:
    """Job and options of what is there; None if nothing is.

    Raises:
        ValueError: if it was damaged.
    """
    names = folder.names()
    if RECIPE in names:
        return read_recipe(folder)
    if "manifest.json" in names:
        return read_recipe(folder, "manifest.json")
    if EVALUATION in names:
        value = folder.read_json(EVALUATION)
        if fault := misfit(value, {"job": TEXT, "options": OBJECT}):
            raise ValueError(f"{folder.path(EVALUATION)}: was damaged after writing ({fault}); remove it, and go on")
        return dict(value)
    return None
