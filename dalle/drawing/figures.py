"""What choosing the best of many was worth, for a paper (Ramesh et al. 2021, Figures 6 and 9c).

best_of.json          mean score of the best of N samples, for several N, with standard errors
best_of.png           the same as a plot
best_of_pictures.png  with --best_of: the best of the first N for some captions, a caption a row, an N a column
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dalle.contrastive.best_of import BestOf, best_of, draw_plot
from dalle.drawing.best_of import stops
from dalle.pictures.images import open_picture
from dalle.pictures.plots import empty_figure, png
from schemas.commands.printing import one_line
from schemas.draft import Draft
from schemas.samples import SAMPLES
from schemas.shards import read_parquet

FIGURES, PLOT, GRID = "best_of.json", "best_of.png", "best_of_pictures.png"
ROWS = 8
"""Captions that the pictures are shown of, the first."""
_INCH, _CHARACTERS = 1.6, 26
_MOST_CHARACTERS = 160


def write_best_of(draft: Draft, samples: int, sizes: Sequence[int]) -> None:
    """Write what samples.parquet tells of it; nothing if the samples have no scores, or captions one sample each.

    Args:
        draft: has samples.parquet and the pictures.
        samples: of each caption.
        sizes: N; if none are given all powers of two, and no pictures.
    """
    table = read_parquet(draft, SAMPLES, ["caption", "score", "file"])
    if samples == 1 or pc.all(table["score"].is_null()).as_py() is not False:
        return
    best = best_of(table["score"].to_numpy().reshape(-1, samples), sizes or stops(samples))
    draft.write_json(FIGURES, best.to_json())
    draft.write(PLOT, draw_plot(best))
    if sizes:
        draft.write(GRID, _draw_pictures(draft, table, best))


def _draw_pictures(draft: Draft, table: pa.Table, best: BestOf) -> bytes:
    rows, columns = min(ROWS, len(best.picks)), len(best.sizes)
    figure = empty_figure(_INCH * (columns + 1.4), _INCH * (rows + 0.2))
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, column in np.ndindex(rows, columns):
        place = row * best.samples + int(best.picks[row, column])
        panel: Any = panels[row][column]
        panel.imshow(open_picture(draft.read_bytes(table["file"][place].as_py())).pixels())
        panel.set(xticks=[], yticks=[])
        if row == 0:
            panel.set_title(f"best of {best.sizes[column]:,}", fontsize=8)
        if column == 0:
            said = textwrap.shorten(one_line(table["caption"][place].as_py()), _MOST_CHARACTERS, placeholder=" …")
            words = textwrap.fill(said, _CHARACTERS)
            panel.set_ylabel(words, fontsize=7, rotation=0, ha="right", va="center", parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # captions have what letters they like
        return png(figure)
