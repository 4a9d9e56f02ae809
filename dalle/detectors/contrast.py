"""What the training of a detector lowers: the InfoNCE loss and SSCD's entropy term (Pizzi et al. 2022, §3.2).

Shapes: B pictures in two views each, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of picking each view's partner among all other views.

    Args:
        first, second: [B, D] unit vectors; row i of both shows the same picture.
        temperature: divides the cosines.
    """
    views = torch.cat([first, second])  # [2B, D]
    cosines = (views @ views.T / temperature).fill_diagonal_(-torch.inf)  # [2B, 2B]
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(cosines, partners)


def crowding(first: Tensor, second: Tensor) -> Tensor:
    """Minus the mean log distance of each view to the nearest view of another picture.

    Args:
        first, second: [B, D] unit vectors.
    """
    views = torch.cat([first, second])
    same = torch.eye(len(first), dtype=torch.bool, device=views.device).repeat(2, 2)
    nearest = (views @ views.T).detach().masked_fill(same, -1).argmax(1)
    distance = (views - views[nearest]).square().sum(1).add(1e-6).sqrt()
    return -distance.log().mean()
