"""Which decoder reads a format: what is used, beside its rivals, on whole pictures and on damaged ones.

    python benchmarks/decoders.py [--quick]

measures, for each format and each library that reads it here, processor time and memory a pixel of a drawn picture of
4 megapixels, and gives it some thousand damaged files, each in a process with a limit of a gigabyte and of ten seconds:
how many ended the process, how many took the gigabyte, how many it decoded. `ours` is `dalle.pictures.images.decode`,
which picks for each format what stands in the table in dalle/pictures/formats; the others get whole files.
"""

from __future__ import annotations

import functools
import io
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fuzzing.mutations import mutated
from benchmarks.fuzzing.pictures import seeds
from benchmarks.fuzzing.rivals import RIVALS, SIDES, cost, outcome
from benchmarks.record import record, spread
from dalle.pictures.images import UndecodableImage, open_picture
from dalle.sandbox import Limits, Session, nursery, one_by_one
from dalle.scenes import compose, draw

QUICK = "--quick" in sys.argv
DAMAGED = 300 if QUICK else 3_000
"""Files of each format."""
LIMITS = Limits(memory=1 << 30, seconds=10)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "PNG": ("PNG", {"compress_level": 3}),
    "WebP": ("WEBP", {"quality": 90, "method": 2}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "TIFF": ("TIFF", {"compression": "tiff_lzw"}),
    "AVIF": ("AVIF", {"speed": 9}),
    "HEIC": ("HEIF", {"quality": 80}),
}
"""Pillow's name of each format, and how the large picture is written."""


def measure(kind: str) -> dict[str, Any]:
    """All rivals on one format."""
    pillows, options = KINDS[kind]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(draw(compose(7, *SIDES)))).save(out, pillows, **options)
    own = [seed for seed in seeds() if _format_of(seed) == pillows]
    damaged = [_drawn(kind, own, number) for number in range(DAMAGED)]
    figures: dict[str, Any] = {}
    for who in RIVALS:
        costs = [alone(functools.partial(cost, who=who), out.getvalue()) for _ in range(1 if QUICK else 5)]
        found = Counter(
            answer.fault or str(answer.value)
            for _, answer in one_by_one(functools.partial(outcome, who=who), LIMITS, ((0, data) for data in damaged))
        )
        figures[who] = {
            "ns a pixel": None if None in costs else spread([each[0] for each in costs], 2),
            "bytes a pixel": None if None in costs else spread([each[1] for each in costs], 2),
            f"of {DAMAGED} damaged": dict(sorted(found.items())),
        }
        print(kind, who, figures[who], flush=True)
    return figures


def alone(function: Any, data: bytes) -> Any:
    """What a new worker says."""
    with Session(function, LIMITS) as session:
        ((_, answer),) = [*session.push(0, data), *session.flush()]
    mine = nursery.nursery()
    while mine._free:
        mine._free.pop().close()
    return answer.value


def _drawn(kind: str, own: list[bytes], number: int) -> bytes:
    rng = random.Random(f"{kind} {number}")
    return mutated(rng.choice(own), rng, rng.choice(own))


def _format_of(seed: bytes) -> str:
    try:
        return open_picture(seed).format
    except UndecodableImage:
        return ""


def main() -> None:
    """Measure."""
    figures = {kind: measure(kind) for kind in KINDS}
    record("decoders", figures, ["opencv-python-headless", "pillow", "pillow-heif", "simplejpeg", "numpy"])


if __name__ == "__main__":
    main()
