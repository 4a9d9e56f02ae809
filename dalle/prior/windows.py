"""How the codes of a picture look at each other block by block, at about the cost of what the plan lets them see.

The codes are put in an order in which what a code sees lies shortly before it: raster order, or column by column for
the columns, as the paper transposes them. Blocks of Q codes that follow each other then look at a window of M codes,
the block itself and some before it; what of the window a code does not see is masked. For 32 x 32 codes:

| kind | Q | M | seen of M |
|---|---|---|---|
| row | 32 | 64 | 33 |
| column | 32 | 32 | up to 32 |
| convolution | 32 | 197 | 61 |
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from dalle.prior.masks import REACH, Kind, sees_code

QUERIES = 32
"""Codes of a block at least: smaller products take longer than they save."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The blocks of a plan."""

    side: int
    """W; the picture has N = W W codes."""
    queries: int
    """Q, codes of a block."""
    before: int
    """Codes of a window that come before its block."""
    by_column: bool
    """Whether codes stand column by column, not in raster order."""
    bias: Tensor
    """[G, Q, M]: what is added to the scores, 0 where a code sees another and minus infinity elsewhere."""

    @property
    def blocks(self) -> int:
        """G."""
        return -(-(self.side**2) // self.queries)

    @property
    def padded(self) -> int:
        """G Q, the codes and some more that fill the last block."""
        return self.blocks * self.queries

    @property
    def window(self) -> int:
        """M."""
        return self.before + self.queries


@functools.lru_cache(maxsize=64)
def windows_of(kind: Kind, side: int, dtype: torch.dtype, device: torch.device) -> Windows:
    """The blocks in which a picture of `side` x `side` codes is computed."""
    codes = side * side
    queries = min(codes, side * -(-QUERIES // side))
    reach = {"row": side, "column": 0, "convolution": REACH * side + REACH, "dense": codes}[kind]
    blocks = -(-codes // queries)
    before = min(reach, (blocks - 1) * queries)
    place = torch.arange(codes)
    order = place.view(side, side).t().flatten() if kind == "column" else place
    order = torch.cat([order, torch.full((blocks * queries - codes,), codes)])  # what only fills is no code
    query = torch.arange(blocks * queries).view(blocks, queries, 1)
    key = torch.arange(blocks)[:, None, None] * queries - before + torch.arange(before + queries)
    ours, theirs = order[query], order[key.clamp(min=0)]
    seen = (key >= 0) & (ours < codes) & (theirs < codes) & sees_code(kind, ours, theirs, side)
    return Windows(
        side=side,
        queries=queries,
        before=before,
        by_column=kind == "column",
        bias=torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf).to(device),
    )
