"""Which positions a position sees: the plans of the paper's layers, each said once (Ramesh et al. 2021, App. B.1).

The sequence is S = T + 1 positions of text (its start, then T tokens) and N = W W codes of a picture in raster order.
Text sees the text up to itself. A code sees all of the text and, of the codes, by its layer's kind:

| kind | of the codes, itself and | at most, W = 32 |
|---|---|---|
| `row` | the W before it in raster order, the last of which lies above it | 33 |
| `column` | those above it in its column | 32 |
| `convolution` | those of its 11 x 11 neighbourhood that come before it | 61 |
| `dense` | all before it; no layer of the paper's, to compare with | 1,024 |

The paper draws rows and columns, and says of the convolution that it wraps around "similar to the row attention". It is
read so: a neighbour is an offset of the flattened index, dr W + dc with dr from -5 to 0, dc from -5 to 5, not above 0.
A neighbour beyond the left or right edge is therefore the code at the other end of the line above or below, as a row's
is; nothing wraps from the bottom to the top.

    >>> from collections import Counter
    >>> Counter(kinds_of(64))
    Counter({'row': 47, 'column': 16, 'convolution': 1})
    >>> dense_mask("row", text_length=1, side=2).int()
    tensor([[1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 1, 0],
            [1, 1, 0, 1, 1, 1]], dtype=torch.int32)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["row", "column", "convolution", "dense"]

REACH = 5
"""Lines above and columns on either side that a convolution sees: its kernel is 11 x 11."""


def kinds_of(layers: int) -> tuple[Kind, ...]:
    """The kind of each layer: the last is convolutional; of the others the 2nd, 6th, 10th ... column, the rest row."""
    inner: list[Kind] = ["column" if layer % 4 == 2 else "row" for layer in range(1, layers)]
    return (*inner, "convolution")


def sees_code(kind: Kind, query: Tensor, key: Tensor, side: int) -> Tensor:
    """Whether a code sees another.

    Args:
        kind: of the layer.
        query: int64, number of the code that looks, 0 to W W - 1.
        key: int64, number of the code that may be seen, in a shape that fits.
        side: W.

    Returns:
        booleans in the shape of both together.
    """
    back = query - key
    if kind == "row":
        return (back >= 0) & (back <= side)
    if kind == "column":
        return (back >= 0) & (back % side == 0)
    if kind == "convolution":
        near = back.abs() <= REACH
        for lines in range(1, REACH + 1):
            near = near | ((back - lines * side).abs() <= REACH)
        return (back >= 0) & near
    return back >= 0


def sees(kind: Kind, query: Tensor, key: Tensor, *, text_length: int, side: int) -> Tensor:
    """Whether a position of the sequence sees another; like `sees_code`, for positions 0 to T + W W."""
    start = text_length + 1
    return (key <= query) & ((key < start) | sees_code(kind, query - start, key - start, side))


def dense_mask(kind: Kind, *, text_length: int, side: int) -> Tensor:
    """[L, L] bool, L = T + 1 + W W: true where the position of the line sees that of the column.

    A network reads all of it but the last line and column: nothing follows the last code.
    """
    position = torch.arange(text_length + 1 + side * side)
    return sees(kind, position[:, None], position[None], text_length=text_length, side=side)
