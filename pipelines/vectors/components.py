"""Connected components by labels: each node is labelled with the least node that it is linked to."""

from __future__ import annotations

import numpy as np


def join(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The labels when these nodes are linked as well.

    Takes a number of rounds that grows with the logarithm of the nodes: in each, of any two linked components the one
    with the greater label joins the other.

    Args:
        labels: [N] int64, `labels[labels] == labels`; changed in place.
        first, second: [E] nodes.
    """
    while True:
        one, other = labels[first], labels[second]
        differ = one != other
        if not differ.any():
            return labels
        first, second, one, other = first[differ], second[differ], one[differ], other[differ]
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while True:
            further = labels[labels]
            if np.array_equal(further, labels):
                break
            labels[:] = further
