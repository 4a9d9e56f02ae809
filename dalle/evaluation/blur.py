"""Pictures blurred before they are judged, as in the paper's Figure 9: what is left of a distance without details.

A radius r is the standard deviation of a Gaussian in pixels of a picture whose short side is 256, the size of the
paper's samples: a picture of short side s is blurred with sigma = r s / 256, so that samples and larger references lose
the same details. The filter is cut off at four standard deviations (at `int(4 sigma + 0.5)` pixels), pixels beyond the
edge are mirrored with the edge's own pixel repeated, the result is rounded to 8 bits: scipy's `gaussian_filter` with
`mode="reflect", truncate=4`, in floating point, then rounded. Radius 0 is the picture itself.

The paper says "blur kernel radius" and no more; Pillow, which CogView's figures of the same kind were made with, calls
the standard deviation the radius.
"""

from __future__ import annotations

import cv2
import numpy as np

from dalle.pictures.pixels import Pixels

RADII = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Those that CogView's transcription of Figure 9 has."""
SHORT_SIDE = 256
TRUNCATE = 4.0
DEFINITION = (
    "Gaussian of standard deviation radius x short side / 256 pixels, cut off at 4 standard deviations, edges "
    "reflected, rounded to 8 bits"
)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    """A picture blurred with a radius of 0 or more."""
    sigma = radius * min(pixels.shape[:2]) / SHORT_SIDE
    if sigma == 0:
        return pixels
    return np.clip(np.rint(gaussian(pixels.astype(np.float32), sigma)), 0, 255).astype(np.uint8)


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """[H, W, 3] float32, filtered along both sides."""
    reach = int(TRUNCATE * sigma + 0.5)
    distance = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    kernel /= kernel.sum()
    # padded here: OpenCV mirrors once only, and a small picture is mirrored again and again
    wide = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    filtered = cv2.sepFilter2D(wide, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    height, width = values.shape[:2]
    return filtered[reach : reach + height, reach : reach + width]
