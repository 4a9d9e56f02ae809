"""Codes that begin where a dVAE has them: patches that look alike begin with vectors that are alike.

Not in the paper, whose embeddings of codes and whose logits begin at random and have to learn from examples which codes
are of one colour or one shape. A dVAE knows it: a code stands for some numbers of which its decoder makes the patch.
What a network has learnt of one code then holds a little for those like it from the first step on, also for codes that
a caption's words were never seen with.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SEED = 0
"""Of the projection: always the same, so that nothing else a training draws changes with it."""


def code_vectors(codebook: Tensor, width: int) -> Tensor:
    """What is added to the first embeddings of codes and to the first weights of their logits.

    Args:
        codebook: [K, d], what each code stands for (`DVAE.codebook`).
        width: D of the transformer.

    Returns:
        [K, D] float32, whose angles are about those of the codebook around its mean, and whose length is 1 on the
        average.

    Raises:
        ValueError: if all codes stand for the same.
    """
    centred = codebook.double() - codebook.double().mean(0)
    length = centred.norm(dim=1).mean()
    if not (torch.isfinite(length) and length > 0):
        raise ValueError("all codes of its codebook stand for the same, so it says nothing of them")
    generator = torch.Generator().manual_seed(_SEED)
    projection = torch.randn(centred.shape[1], width, generator=generator, dtype=torch.float64) / width**0.5
    return ((centred / length) @ projection).float()
