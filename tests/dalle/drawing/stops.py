"""Stops a drawing of pictures at each of its steps that touch storage: a program of its own, for it forks with torch.

    python -m tests.dalle.drawing.stops /tmp/place

Prints one line of JSON for each change: its name, how many steps were stopped at, and how many states that left.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch

from dalle.drawing.captions import captions_of
from dalle.drawing.generator import Generator
from dalle.drawing.job import Drawing
from dalle.drawing.options import GenerateOptions
from dalle.drawing.watching import Watcher
from tests.dalle.drawing.models import write_models
from tests.stopping import Change, place_of_its_own, stop_at_each_step

CHANGES: dict[str, tuple[tuple[str, ...], int]] = {"fresh": ((), 2), "overwrite": (("rain",), 1)}
"""Captions that were drawn before, and samples that are drawn of a new one, each in a batch of its own."""


def draw(generator: Generator, captions: tuple[str, ...], samples: int, folder: str) -> None:
    """As the command does it, `--incremental_mode overwrite`."""
    how = {"samples": samples, "keep": 1, "batch_size": 1, "incremental_mode": "overwrite"}
    options = GenerateOptions(output_folder=Path(folder), **how)
    if captions:
        Drawing(options, captions_of(captions, None), generator, Watcher()).run()


def main(place: Path) -> None:
    """All changes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=place) as made, pytest.MonkeyPatch.context() as patch:
        generator = Generator.load(str(write_models(Path(made))), samples=1)
        draw(generator, ("snow",), 1, f"{made}/first")  # imports what takes seconds, before there are forks
        for name, (before, samples) in CHANGES.items():
            change = Change(partial(draw, generator, before, 1), partial(draw, generator, ("snow",), samples))
            with (
                tempfile.TemporaryDirectory(dir=place) as inside,
                place_of_its_own("disk", Path(inside), patch) as disk,
            ):
                print(json.dumps([name, *stop_at_each_step(disk, change, random.Random(name))]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
