"""Image-to-image: the codes of a picture that stay, and where (Ramesh et al. 2021, §3.3, Figure 2c).

The paper keeps the upper 15 of 32 rows of a picture's codes and lets the prior draw the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dalle.dvae.image_encoders import ImageEncoder
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.images import decode
from dalle.pictures.resize import resize
from dalle.prior.lines import Given
from schemas.regular_file import check_regular

PIXELS = 8
"""Of a code, on either side."""
_KEPT = 15 / 32
"""Of the rows, if it is not said how many: the paper's."""


def given_of(image: str, side: int, encoder: ImageEncoder, *, keep_rows: int | None, keep_mask: str | None) -> Given:
    """The codes of a picture's centre square, and which of them stay.

    Args:
        image: a file.
        side: h, codes of a row.
        encoder: makes the codes.
        keep_rows: upper rows that stay, 0 to h; None keeps 15 of 32; not looked at if there is a mask.
        keep_mask: a picture of h x h pixels, or a multiple: light where the code stays.

    Raises:
        ValueError: if one of the files is no picture, the mask is of another size, or nothing is left to draw.
    """
    pixels = resize(_pixels("--image", image), PIXELS * side, "center_crop")
    codes = encoder.encode(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]).flatten().numpy()
    if keep_mask is None:
        keep_rows = int(_KEPT * side) if keep_rows is None else keep_rows
        if not 0 <= keep_rows <= side:
            raise ValueError(f"--keep_rows {keep_rows}: expected 0 to {side}, the rows of codes; give one of those")
        mask = np.repeat(np.arange(side) < keep_rows, side)
    else:
        mask = _mask(keep_mask, side)
    if mask.all():
        raise ValueError("all codes of the picture are to stay, so there is nothing to draw; keep fewer")
    return Given(mask, codes)


def _mask(file: str, side: int) -> np.ndarray:
    grey = _pixels("--keep_mask", file).mean(2)
    height, width = grey.shape
    if height != width or height % side:
        raise ValueError(
            f"--keep_mask {file}: is {width} x {height} pixels, expected {side} x {side}, one for each code, or a "
            "multiple of that"
        )
    times = height // side
    return (grey.reshape(side, times, side, times).mean((1, 3)) >= 128).ravel()


def _pixels(flag: str, file: str) -> np.ndarray:
    check_regular(file)
    try:
        return decode(Path(file).read_bytes())
    except UndecodableImage as error:
        raise ValueError(f"{flag} {file}: cannot be read as a picture ({error}); give another") from None
