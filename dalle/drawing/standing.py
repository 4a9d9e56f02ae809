"""What of a drawing lies in a folder, and what it follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dalle.drawing.captions import Caption
from dalle.drawing.generator import Generator
from dalle.drawing.options import GenerateOptions
from schemas.draft import NEXT
from schemas.folder import RECIPE, Folder
from schemas.journal import is_between
from schemas.manifest import MANIFEST, fingerprint, read_manifest, read_recipe
from schemas.options import options_json
from schemas.output_place import check_whose
from schemas.regular_file import check_regular

JOB = "generate"


def recipe_of(options: GenerateOptions, captions: Sequence[Caption], generator: Generator) -> dict[str, Any]:
    """Models, captions and options that the pictures follow from.

    Raises:
        ValueError: if the picture or the mask is no file.
        OSError: if it cannot be read.
    """
    inputs = [{"name": name, "sha256": sha256} for name, sha256 in generator.models.fingerprints.items()]
    if generator.reranker is not None:
        inputs.append({"name": "reranker", "sha256": generator.reranker.fingerprint})
    files = {"image": options.image, "keep_mask": options.keep_mask}
    inputs += [
        {"name": name, "sha256": hashlib.sha256(_content(file)).hexdigest()}
        for name, file in files.items()
        if file is not None
    ]
    inputs.append({"name": "captions", "sha256": fingerprint([[one.id, one.text] for one in captions])})
    shape = {"captions_at_once": options.captions_at_once, "samples_at_once": options.samples_at_once}
    return {
        "job": JOB,
        "inputs": inputs,
        "options": {**options_json(options), "precision": options.number_format, **shape},
    }


def is_drawn(folder: Folder, recipe: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether all this is drawn already, and whole.

    Args:
        folder: where it is to be.
        recipe: what is to be drawn.
        overwrite: it is drawn anew, in place of whatever a generation left there.

    Raises:
        ValueError: if the folder holds something else, or not all that was drawn.
    """
    check_whose(folder, JOB)
    if not folder.exists(MANIFEST):
        if not overwrite:
            _check_begun(folder, recipe)
        return False
    before = read_recipe(folder, MANIFEST)
    if overwrite:
        return False
    if not all(before[name] == recipe[name] for name in ("inputs", "options")):
        raise ValueError(
            f"{folder}: holds pictures that were drawn otherwise ({_differing(before, recipe)}); give another "
            "--output_folder, or --incremental_mode overwrite"
        )
    for name, said in read_manifest(folder).get("files", {}).items():
        if not folder.exists(name) or folder.size(name) != said["size"]:
            raise ValueError(f"{folder.path(name)}: is gone or was changed; --incremental_mode overwrite draws it anew")
    return True


def has_begun(folder: Folder, recipe: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very drawing, finished or not, so that it can be gone on with.

    Raises:
        ValueError: if what lies there was damaged.
    """
    if is_between(folder):
        return True  # it is finished first, whatever it is
    begun = folder.inside(NEXT)
    if begun.exists(RECIPE):
        return read_recipe(begun) == recipe
    before = read_recipe(folder, MANIFEST) if folder.exists(MANIFEST) else {}
    return all(before.get(name) == recipe[name] for name in ("job", "inputs", "options"))


def has_other_inputs(folder: Folder, recipe: Mapping[str, Any]) -> bool:
    """Whether something lies in a folder that was drawn, or is being drawn, by other models or of other captions.

    Raises:
        ValueError: if what lies there was damaged.
    """
    places = (folder.inside(NEXT), RECIPE), (folder, MANIFEST)
    return any(place.exists(name) and read_recipe(place, name)["inputs"] != recipe["inputs"] for place, name in places)


def _content(file: str) -> bytes:
    check_regular(file)
    return Path(file).read_bytes()


def _check_begun(folder: Folder, recipe: Mapping[str, Any]) -> None:
    begun = folder.inside(NEXT)
    if begun.exists(RECIPE) and (before := read_recipe(begun)) != recipe:
        raise ValueError(
            f"{folder}: was begun otherwise ({_differing(before, recipe)}); give what it was begun with, another "
            "--output_folder, or --incremental_mode overwrite"
        )


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names of the inputs and options that differ."""
    inputs = [{one["name"]: one["sha256"] for one in recipe["inputs"]} for recipe in (before, now)]
    names = [name for name in sorted({*inputs[0], *inputs[1]}) if inputs[0].get(name) != inputs[1].get(name)]
    options = before["options"], now["options"]
    names += [name for name in sorted({*options[0], *options[1]}) if options[0].get(name) != options[1].get(name)]
    return ", ".join(names)
