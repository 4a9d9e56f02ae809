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
    if data.startswith(jpeg.START):
        return jpeg.Jpeg(data, max_pixels)
    if data.startswith(png.START):
        return png.Png(data, max_pixels)
    if webp.is_webp(data):
        return webp.WebP(data, max_pixels)
    if data.startswith(gif.STARTS):
        return gif.Gif(data, max_pixels)
    if data.startswith(tiff.STARTS):
        return tiff.Tiff(data, max_pixels)
    if kind := heif.brand(data):
        return heif.Avif(data, max_pixels) if kind == "AVIF" else heif.Heif(data, max_pixels)
    if data.startswith(b"BM") or bmp.is_dib(data):
        return bmp.Bmp(data, max_pixels)
    raise what_it_is(data)


__all__ = ["Still", "UndecodableImage", "open_still"]
