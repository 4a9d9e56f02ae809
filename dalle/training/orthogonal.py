"""Columns made orthonormal by Householder reflections, as the paper does it (Ramesh et al. 2021, App. E.2 step 5).

Gram-Schmidt, which torch's own PowerSGD takes for 16 bits and small ranks, subtracts from a column what lies along the
columns before it. Of nearly dependent columns only rounding errors are left, which need not be orthogonal to anything,
and of dependent ones nothing, which is then divided by its length. Reflections keep orthogonality to rounding, whatever
the columns are.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6
"""Times the identity is added first, so that dependent columns, and zeros, have a direction (App. E.2)."""


def orthogonalized(matrix: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Orthonormal columns that span those of a matrix with epsilon times the identity added.

    Args:
        matrix: [rows, columns] of float32 or float64, finite, of entries that epsilon is small beside; no more columns
            than rows.
        epsilon: 0 or more.

    Returns:
        [rows, columns] of the same format.

    Raises:
        ValueError: if there are more columns than rows.

    Source: Ramesh et al. 2021, App. E.2; `torch.linalg.qr` is LAPACK's and cuSOLVER's Householder QR.
    """
    rows, columns = matrix.shape
    if columns > rows:
        raise ValueError(f"a matrix of {rows} x {columns} has more columns than rows: they cannot all be orthogonal")
    shifted = matrix.clone()
    shifted.diagonal().add_(epsilon)
    return torch.linalg.qr(shifted, mode="reduced").Q
