"""What one sees while pictures are drawn: a bar in a terminal, lines elsewhere, and the best pictures, small."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np
from rich.color import Color
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment, Segments
from rich.style import Style

from dalle.training.logs import time_left
from schemas.commands.console import console
from schemas.commands.printing import one_line, trusted

COLUMNS, ROWS = 32, 16
"""Of a preview, in characters; each shows two pixels, one above the other."""
PREVIEWS = 8
"""Captions that are shown at most."""
_LINE_EVERY = 20.0
_SHOWN = 60


class Watcher:
    """Shows how far the drawing is.

    Args:
        quiet: only on a terminal, where it goes again, and without pictures.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = trusted(sys.stderr).isatty()
        self._previews = PREVIEWS if trusted(sys.stdout).isatty() and console().color_system == "truecolor" else 0
        self._previews *= not quiet
        self._bar = Progress(
            TextColumn("drawing"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, words="")
        self._samples = self._done = self._before = self._size = 0
        self._part = 0.0
        self._began = self._said = time.monotonic()

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Show it inside the block."""
        with self._bar if self._terminal else contextlib.nullcontext():
            yield

    def begins(self, samples: int, done: int) -> None:
        """So many samples are to be drawn, so many are drawn already."""
        self._samples, self._done, self._before = samples, done, done
        self._began = self._said = time.monotonic()
        self._bar.update(self._task, total=samples, completed=done)
        if done:
            print(f"  goes on: {done:,} of {samples:,} samples are drawn")

    def batch(self, samples: int) -> None:
        """A batch of so many samples begins."""
        self._size = samples

    def position(self, done: int, of: int) -> None:
        """So many positions of the batch are drawn."""
        self._show(self._size * done / of)

    def drawn(self, samples: int) -> None:
        """So many more samples are drawn."""
        self._done += samples
        self._show(0.0)

    def _show(self, part: float) -> None:
        now, drawn = time.monotonic(), self._done + part
        rate = (drawn - self._before) / max(now - self._began, 1e-9)
        words = f"{int(drawn):,} of {self._samples:,} samples, {rate:,.2f} images/s"
        self._bar.update(self._task, completed=drawn, words=words)
        if not (self._terminal or self._quiet) and now - self._said >= _LINE_EVERY and rate > 0:
            self._said = now
            print(f"  {words}, {time_left((self._samples - drawn) / rate)} left", file=sys.stderr, flush=True)

    def judged(self, caption: str, best: np.ndarray) -> None:
        """The best picture of a caption, [H, W, 3] uint8."""
        if self._previews:
            self._previews -= 1
            shown = self._bar.console if self._terminal else console()  # above the bar, which keeps standard output
            shown.print(one_line(caption)[:_SHOWN])
            shown.print(preview(best))


def preview(picture: np.ndarray) -> Segments:
    """A picture, [H, W, 3] uint8, in characters: upper half blocks, the colour of the lower half behind them."""
    small = cv2.resize(picture, (COLUMNS, 2 * ROWS), interpolation=cv2.INTER_AREA)
    segments = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            segments.append(Segment("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))))
        segments.append(Segment.line())
    return Segments(segments)
