"""Codes that are the nearest of some centres: how k-means chooses them, and how a layer's logits say which is nearest.

Shapes: N vectors of d numbers, K codes.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
import torch
from torch import Tensor


def choose_among(vectors: np.ndarray, codes: int) -> Tensor:
    """k-means, always the same: [N, d] float32, N not below K, to [K, d] float32."""
    most = math.ceil(len(vectors) / codes)
    search = faiss.Kmeans(
        vectors.shape[1], codes, niter=20, seed=0, min_points_per_centroid=1, max_points_per_centroid=most
    )
    search.train(vectors)
    return torch.from_numpy(search.centroids)


def bias_of(centres: Tensor) -> Tensor:
    """What is added to m.c so that its order is that of nearness: [K, d] to [K].

    -|m - c|^2 / 2 = m.c - |c|^2 / 2 - |m|^2 / 2, of which the last term is the same for all codes.
    """
    return -centres.square().sum(1) / 2
