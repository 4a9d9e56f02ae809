"""The models that come with the package, by the name that flags give them; each has a card beside it.

builtin     a vocabulary and a dVAE (and a detector of copies) of photographs and their captions
drawings    a vocabulary and a dVAE of simple scenes (`dalle.scenes.dialect`)

    >>> shipped("drawings", "dvae").name
    'dvae.safetensors'
    >>> shipped("my/own/dvae", "dvae") is None
    True
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

BUILTIN, DRAWINGS = "builtin", "drawings"
Model = Literal["vocabulary", "dvae"]
_WEIGHTS = Path(__file__).parent / "weights"
FILES: dict[tuple[str, Model], Path] = {
    (BUILTIN, "vocabulary"): _WEIGHTS / "vocabulary.json",
    (BUILTIN, "dvae"): _WEIGHTS / "dvae.safetensors",
    (DRAWINGS, "vocabulary"): _WEIGHTS / DRAWINGS / "vocabulary.json",
    (DRAWINGS, "dvae"): _WEIGHTS / DRAWINGS / "dvae.safetensors",
}


def shipped(name: str, model: Model) -> Path | None:
    """The file of a model of the package; None if it has none of that name, which then is a path.

    Args:
        name: as a flag has it; a folder of the user's that is called the same is to be given as `./drawings`.
        model: which.
    """
    return FILES.get((name, model))


def names(model: Model) -> list[str]:
    """What the package's models of a kind are called."""
    return [name for name, kind in FILES if kind == model]
