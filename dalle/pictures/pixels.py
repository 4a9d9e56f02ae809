"""The type of a decoded picture."""

from __future__ import annotations

import numpy as np

Pixels = np.ndarray
"""[H, W, 3] uint8, red, green and blue, 0 to 255 in sRGB, the right way up."""
