"""Keys and values of a layer, kept only where a later position may see them, in buffers that never grow.

The text's are kept once for all samples of a caption. Of a sample's codes those are kept that its layer's plan (see
`masks`) lets a later code see; W = 32:

| kind | kept of the codes | read in a step |
|---|---|---|
| `row` | a ring of the last 33 | all of it |
| `column` | all, column by column | one column, down to this line |
| `convolution` | a ring of the last 5 lines and 6 | all of it, of which 61 count |
| `dense` | all | all so far |

To gather the 61 takes longer than to look at all 166 and add minus infinity.

Shapes: C captions, S samples of each; T positions of text and its start; N codes; H heads of size d; M codes seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dalle.prior.config import PriorConfig
from dalle.prior.masks import REACH, Kind, sees_code

ALL = slice(None)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The fixed shape of what is drawn together."""

    captions: int
    """C."""
    samples: int
    """S, of each caption."""

    @property
    def size(self) -> int:
        """C S."""
        return self.captions * self.samples


class CodeCache(Protocol):
    """Where the keys and values of codes stand, and what a code sees of them."""

    def write(self, code: int, keys_values: Tensor, captions: slice = ALL) -> None:
        """Keep those of a code, [2, captions, H, S or 1, d]; those of all codes before it are there."""

    def read(self, code: int) -> tuple[Tensor, Tensor | None]:
        """Those that a code sees, its own among them, [2, C H S, M, d], until the next write.

        And what is added to its scores, [M]: minus infinity for others that stand between them; None if there are none.
        """


class _Ring:
    """So many places, one after the other: a code takes that of one that nobody sees any more, and sees all the others.

    Args:
        places: how many.
        shape: [2, C, H, S, d].
        like: a tensor of the format and on the device.
    """

    def __init__(self, places: int, shape: tuple[int, ...], like: Tensor) -> None:
        self._places = places
        self._buffer = like.new_zeros(*shape[:-1], places, shape[-1])
        self._seen = self._buffer.flatten(1, 3)

    def write(self, code: int, keys_values: Tensor, captions: slice = ALL) -> None:
        self._buffer.select(4, code % self._places)[:, captions] = keys_values

    def read(self, code: int) -> tuple[Tensor, Tensor | None]:
        return self._seen[:, :, : code + 1], None


class _Columns:
    """The grid of `side` columns, each like a ring that is never full."""

    def __init__(self, side: int, shape: tuple[int, ...], like: Tensor) -> None:
        self._columns = [_Ring(side, shape, like) for _ in range(side)]

    def write(self, code: int, keys_values: Tensor, captions: slice = ALL) -> None:
        line, column = divmod(code, len(self._columns))
        self._columns[column].write(line, keys_values, captions)

    def read(self, code: int) -> tuple[Tensor, Tensor | None]:
        line, column = divmod(code, len(self._columns))
        return self._columns[column].read(line)


class _Neighbours(_Ring):
    """A ring as long as the convolution reaches back, of which a code sees what the plan says."""

    def __init__(self, side: int, shape: tuple[int, ...], like: Tensor) -> None:
        super().__init__(min(side * side, REACH * side + REACH + 1), shape, like)
        self._bias = like.new_full((side * side, self._places), -torch.inf)
        code = torch.arange(side * side, device=like.device)
        query, key = sees_code("convolution", code[:, None], code[None], side).nonzero(as_tuple=True)
        self._bias[query, key % self._places] = 0

    def read(self, code: int) -> tuple[Tensor, Tensor | None]:
        return super().read(code)[0], self._bias[code, : code + 1]


class LayerCache:
    """Keys and values of one layer.

    Args:
        kind: whom a code sees.
        config: the network's sizes.
        batch: captions and samples.
        like: a tensor of the format and on the device.
    """

    def __init__(self, kind: Kind, config: PriorConfig, batch: Batch, like: Tensor) -> None:
        heads, size, side = config.heads, config.head_size, config.side
        self._text = like.new_zeros(2, batch.captions, heads, config.text_length + 1, size)
        self.text = self._text.flatten(1, 2)
        """[2, C H, T, d]."""
        shape = (2, batch.captions, heads, batch.samples, size)
        self.codes = self._cache_of(kind, side, shape, like)

    @staticmethod
    def _cache_of(kind: Kind, side: int, shape: tuple[int, ...], like: Tensor) -> CodeCache:
        if kind == "column":
            return _Columns(side, shape, like)
        if kind == "convolution":
            return _Neighbours(side, shape, like)
        return _Ring(min(side * side, side + 1) if kind == "row" else side * side, shape, like)

    def begin(self, caption: int, keys_values: Tensor) -> None:
        """Take those of a caption's text and of codes that are given to all its samples.

        Args:
            caption: its number in the batch.
            keys_values: [2, H, T + P, d]; P codes from the first on.
        """
        text = self._text.shape[3]
        self._text[:, caption] = keys_values[:, :, :text]
        for code in range(keys_values.shape[2] - text):
            given = keys_values[:, None, :, text + code, None]  # [2, 1, H, 1, d]
            self.codes.write(code, given, slice(caption, caption + 1))
