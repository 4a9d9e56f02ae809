"""Which positions a position sees: against the paper's words, its figures, and another project's formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dalle.prior.masks import Kind, dense_mask, kinds_of

KINDS: tuple[Kind, ...] = ("row", "column", "convolution")


def test_the_last_layer_is_convolutional_and_every_fourth_looks_along_columns() -> None:
    """The paper's 64 layers, and any other number by the same rule."""
    full = kinds_of(64)
    assert [*range(2, 63, 4)] == [i for i, kind in enumerate(full, 1) if kind == "column"]
    assert [64] == [i for i, kind in enumerate(full, 1) if kind == "convolution"]
    assert (47, ("row", "column", "row", "row")) == (full.count("row"), full[:4])
    for layers in range(1, 20):
        assert full[: layers - 1] == kinds_of(layers)[:-1]
        assert "convolution" == kinds_of(layers)[-1]


@pytest.mark.parametrize(
    ("kind", "most", "mean"),
    [("row", 33, 32.5), ("column", 32, 16.5), ("convolution", 61, 55.8), ("dense", 1024, 512.5)],
)
def test_how_many_codes_a_code_sees(kind: Kind, most: int, mean: float) -> None:
    """Of 32 x 32; and all of the text, of which each position sees those up to itself."""
    mask = dense_mask(kind, text_length=256, side=32)
    codes = mask[257:, 257:].sum(1)
    assert (most, mean) == (int(codes.max()), pytest.approx(float(codes.double().mean()), abs=0.05))
    assert mask[257:, :257].all()
    assert torch.equal(mask[:257], torch.ones(257, 1281, dtype=torch.bool).tril())
    assert mask.diagonal().all()
    assert not mask.triu(1).any()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 12])
def test_each_plan_is_its_list_of_offsets(side: int) -> None:
    """Code by code: those that lie so far back in raster order."""
    offsets = {
        "row": {*range(side + 1)},
        "column": {*range(0, side * side, side)},
        "convolution": {-(dr * side + dc) for dr in range(-5, 1) for dc in range(-5, 6)},
        "dense": {*range(side * side)},
    }
    for kind, some in offsets.items():
        expected = [[q - k in some and k <= q for k in range(side * side)] for q in range(side * side)]
        assert torch.equal(torch.tensor(expected), dense_mask(kind, text_length=2, side=side)[3:, 3:])


def test_the_papers_drawing() -> None:
    """Figure 11 is of 6 text tokens and 4 x 4 codes, where a row's reach is 5 codes."""
    row = dense_mask("row", text_length=5, side=4)[6:, 6:]
    assert [6, 7, 8, 9, 10] == row[10].nonzero().flatten().tolist()
    column = dense_mask("column", text_length=5, side=4)[6:, 6:]
    assert [2, 6, 10] == column[10].nonzero().flatten().tolist()


def ru_dalle(kind: Kind, text: int, side: int) -> Tensor:
    """ruDALL-E's formulas (ai-forever/ru-dalle, `rudalle/dalle/image_attention.py`): what they take out of a triangle.

    Row: of each key's column all from side + 1 queries on. Column: all but every side-th query after the key. Convolution:
    all but queries whose row and column both lie within 5 of the key's, each modulo side.
    """
    length = text + side * side
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    for key in range(text, length):
        for query in range(key + 1, length):
            row, column = (query - text) // side - (key - text) // side, (query - key) % side
            sees = {
                "row": query - key < side + 1,
                "column": (query - key) % side == 0,
                "convolution": (row + 5) % side <= 10 and (column + 5) % side <= 10,
            }
            mask[query, key] = sees[kind]
    return mask


@pytest.mark.parametrize(("side", "text"), [(4, 6), (13, 9), (17, 4)])
def test_they_are_those_of_ru_dalle(side: int, text: int) -> None:
    """Rows and columns exactly; the convolution where the two readings agree.

    ruDALL-E takes row and column modulo the side, we the flattened index: they part at the left and right edges, where its
    neighbours lie in the same row and ours in the next, and in the last rows, where its see the first ones.
    """
    for kind in ("row", "column"):
        assert torch.equal(ru_dalle(kind, text, side), dense_mask(kind, text_length=text - 1, side=side))
    ours, theirs = dense_mask("convolution", text_length=text - 1, side=side), ru_dalle("convolution", text, side)
    code = torch.arange(side * side)
    inside = (code % side >= 5) & (code % side < side - 5) & (code // side < side - 5)
    assert inside.sum() == max(0, side - 10) * max(0, side - 5)
    assert torch.equal(theirs[text:][inside], ours[text:][inside])
    assert torch.equal(theirs[:text], ours[:text])
    if side >= 11:
        assert not torch.equal(theirs, ours)
