"""One reader a format: its container is read here, in Python; native code gets what makes the picture and no more.

| format | container by | pixels by | why |
|---|---|---|---|
| JPEG | `jpeg` | libjpeg-turbo (simplejpeg) | refuses what it warns of, where others make something up; fastest |
| PNG | `png` | libpng (OpenCV) | refuses damage, keeps 16 bits; OpenCV's own reading of chunks never runs |
| WebP | `webp` | libwebp (OpenCV) | the first frame alone: a third of Pillow's time and memory, same pixels |
| GIF | `gif` | Pillow | the first frame alone, twice, which shows what is missing |
| BMP | `bmp` | numpy | no native code; readers differ in its odd kinds |
| TIFF | Pillow's Python | Pillow, libtiff | sizes of strips, tiles and dictionaries are known before libtiff has them |
| AVIF | libavif | dav1d (Pillow) | 17 ns a pixel, where OpenCV's takes 28 |
| HEIC | libheif | libde265 (pillow-heif) | the only reader there is |

`python benchmarks/decoders.py` measures each beside its rivals (benchmarks/results/decoders.json): processor time,
memory, and what becomes of 3,000 damaged files of each format. Whole files given to OpenCV ended the process at 108 of
the PNGs; whole files given to Pillow took a gigabyte at 88 GIFs, 20 BMPs, 9 PNGs and 2 TIFFs; of what is read here,
none of 24,000 did either.
"""

from __future__ import annotations

from collections.abc import Callable

from dalle.pictures.faults import UndecodableImage
from dalle.pictures.formats import bmp, gif, heif, jpeg, png, tiff, webp
from dalle.pictures.formats.names import what_it_is
from dalle.pictures.formats.still import Still


def open_still(data: bytes, max_pixels: int) -> Still:
    """Read the header of a picture, whose format is told by its bytes.

    Raises:
        UndecodableImage: if the bytes are no picture of a known format, a kind of it that is not read, or larger than
            `max_pixels`, width times height.
    """
    if (reader := _reader(data)) is None:
        raise what_it_is(data)
    return reader(data, max_pixels)


def is_read(head: bytes) -> bool:
    """Whether a file that begins so is a picture of a format that is read here; some hundred bytes tell."""
    return _reader(head) is not None


def _reader(data: bytes) -> Callable[[bytes, int], Still] | None:
    if data.startswith(jpeg.START):
        return jpeg.Jpeg
    if data.startswith(png.START):
        return png.Png
    if webp.is_webp(data):
        return webp.WebP
    if data.startswith(gif.STARTS):
        return gif.Gif
    if data.startswith(tiff.STARTS):
        return tiff.Tiff
    if kind := heif.brand(data):
        return heif.Avif if kind == "AVIF" else heif.Heif
    return bmp.Bmp if data.startswith(b"BM") or bmp.is_dib(data) else None


__all__ = ["Still", "UndecodableImage", "is_read", "open_still", "what_it_is"]
