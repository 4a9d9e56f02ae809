"""How the names of files end that are pictures."""

from __future__ import annotations

ENDINGS = frozenset(
    [
        *("jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "pjpeg", "pjp", "mpo"),
        *("png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff"),
        *("avif", "avifs", "heic", "heics", "heif", "heifs", "hif"),
    ]
)
"""How the names of pictures end, in lower case; the files' own may be in capitals."""
