"""Models of pictures and texts that tell how well a picture matches a caption: open_clip's, and one of our own.

    reranker = dalle.contrastive.load("open_clip:ViT-B-32//data/clip.pt")      # or "contrastive/model.safetensors"
    scores = reranker.scores("a red kite above a house", pictures)              # [N] cosines, float32

`dalle.train_contrastive` trains our own on any dataset of pairs. `best_of` says what choosing the best of N is worth.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from schemas.planning import NotThereYet, reads

if TYPE_CHECKING:
    from dalle.contrastive.reranker import Reranker

NAMES = "open_clip:MODEL/PRETRAINED-or-path, or the folder or model.safetensors that dalle.train_contrastive left"
"""What a model may be called, for help texts and errors."""

_OPEN_CLIP = "open_clip:"


def load(name: str, precision: Literal["auto", "float32", "bfloat16"] = "auto", device: str = "cpu") -> Reranker:
    """A contrastive model by its name, for use.

    Args:
        name: `open_clip:MODEL/PRETRAINED`, where PRETRAINED is one of open_clip's tags or a file of weights
            (`open_clip:ViT-B-32//data/clip.pt`), as the detectors spell it; or what `dalle.train_contrastive` left, the
            folder or its model.safetensors.
        precision: number format of the layers; auto: bfloat16 where that is fast.
        device: where it computes, such as cpu or cuda.

    Raises:
        ValueError: if there is none of that name, or its weights cannot be used.
    """
    from dalle.contrastive import loading
    from dalle.contrastive.reranker import Reranker

    if name.startswith(_OPEN_CLIP):
        return Reranker(loading.of_open_clip(name.removeprefix(_OPEN_CLIP), name), precision, device)
    if not name:
        raise ValueError(f"nothing: there is no such contrastive model; expected {NAMES}")
    reads(name)
    if not Path(name).exists():
        raise NotThereYet(f"{name}: there is no such contrastive model; expected {NAMES}", name)
    return Reranker(loading.of_ours(Path(name), name), precision, device)
