"""A contact sheet: captions, each under the picture that was chosen for it, with whether all in it is right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from dalle.evaluation.samples import read_picture
from dalle.pictures.images import decode
from dalle.pictures.plots import empty_figure, png
from dalle.scene_judge.verdicts import JudgedCaption

COLUMNS, ROWS = 8, 4
_INCHES, _WIDTH = 1.5, 26
_RIGHT, _WRONG = "#1a7f37", "#cf222e"


def contact_sheet(captions: Sequence[JudgedCaption]) -> bytes:
    """A PNG of captions that are spread evenly over all of them, each with its best sample, or else its first."""
    count = min(len(captions), COLUMNS * ROWS)
    some = [captions[index * len(captions) // count] for index in range(count)]
    rows = -(-count // COLUMNS)
    figure = empty_figure(COLUMNS * _INCHES, rows * _INCHES * 1.45)
    for index, one in enumerate(some):
        sample = one.best or 0
        right = one.verdicts[sample].all
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        axes.imshow(decode(read_picture(one.files[sample])), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=_RIGHT if right else _WRONG, linewidth=2)
        # no caption is read as a formula
        text = "\n".join(textwrap.wrap(one.caption, _WIDTH)[:4])
        axes.set_xlabel(text, fontsize=6, color="black" if right else _WRONG, parse_math=False)
    return png(figure)
