"""PNG: its chunks read here, its pixels by OpenCV's libpng, which is given only the chunks that make the picture.

OpenCV's own code reads animations, allocates what a chunk's length declares, and writes where it must not when an
animation is damaged. What it never sees it cannot stumble over: of a file's chunks it gets the header, the palette,
the transparency and one run of image data, whose lengths were compared with the file's. Of an animation that leaves
what a reader shows that knows of no animations, the *default image*: the first frame where the file says so, else the
still picture that the writer put there for such readers.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from dalle.pictures.colour import decode_with_opencv, from_opencv, from_pillow
from dalle.pictures.faults import UndecodableImage, told_as_ours
from dalle.pictures.formats.exif import exif_of
from dalle.pictures.formats.still import Header, refuse_sizes
from dalle.pictures.pixels import Pixels

START = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
"""Of what OpenCV decodes each colour type to; one more where a colour is transparent."""
_GREY, _RGB, _PALETTE, _ALPHA_TYPES = 0, 2, 3, (4, 6)
_LARGE = 1 << 25
"""Pixels."""
_LONGEST = 1_000_000
"""libpng's own limit for a side."""
_MAX_PROFILE = 8 << 20
_END = b"\0\0\0\0IEND\xaeB`\x82"
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


class Png:
    """A PNG file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._needed = [START]
        chunks = self._chunks = _chunks(data)
        """Those from the first of image data on."""
        kind, start, end = next(chunks, (b"", 0, 0))
        if kind != b"IHDR" or end - start != 13 or not _is_whole(data, start, end):
            if kind == b"CgBI":
                raise UndecodableImage("unsupported", "Apple's own kind of PNG, which is not read")
            raise UndecodableImage("corrupt", "the PNG has no whole header")
        width, height = int.from_bytes(data[start : start + 4]), int.from_bytes(data[start + 4 : start + 8])
        refuse_sizes(width, height, max_pixels)
        if max(width, height) > _LONGEST:
            raise UndecodableImage("unsupported", f"a PNG of {width} x {height}: libpng reads sides to {_LONGEST}")
        self._bits, self._colour = data[start + 8 : start + 10]
        self._keep(start, end)
        exif, self._icc, self._transparent, animated = b"", None, None, False
        seen: set[bytes] = set()
        for kind, start, end in chunks:
            first = kind not in seen
            seen.add(kind)
            if kind in (b"PLTE", b"tRNS", b"IDAT"):
                self._keep(start, end)
                if kind == b"tRNS" and first and _is_whole(data, start, end):
                    self._transparent = data[start:end]
                if kind == b"IDAT":
                    break
            elif kind == b"eXIf" and _is_whole(data, start, end):
                exif = data[start:end]
            elif kind == b"iCCP" and first and b"PLTE" not in seen and _is_whole(data, start, end):
                self._icc = _profile(data[start:end])
            animated |= kind == b"acTL"
        else:
            raise UndecodableImage("corrupt", "the PNG has no image data")
        self.header = Header(
            format="PNG",
            width=width,
            height=height,
            exif=exif_of(exif),
            icc=self._icc,
            is_plain_rgb=self._colour == _RGB and self._bits == 8 and self._transparent is None and not animated,
        )

    def memory(self, at_least: int) -> int:
        """What OpenCV decodes to, and its copy; grey is made three channels beside it. Or Pillow's copy and ours."""
        deep = self._bytes_a_pixel
        by_opencv = max(2 * deep, deep + 3 if self._colour == _GREY else 0)
        area = self.header.width * self.header.height
        return area * (7 if self._is_for_pillow else by_opencv) + 2 * len(self._data) + (24 << 20)

    @property
    def _bytes_a_pixel(self) -> int:
        """As OpenCV decodes it."""
        channels = _CHANNELS.get(self._colour, 4) + (self._transparent is not None and self._colour in (_RGB, _PALETTE))
        return channels * (2 if self._bits == 16 else 1)

    @property
    def _is_for_pillow(self) -> bool:
        """OpenCV copies what it has decoded, which of large pictures with opacity or 16 bits is too much.

        Pillow has eight bits from the start; it drops the lower eight where OpenCV's are rounded.
        """
        return self._bytes_a_pixel >= 4 and self.header.width * self.header.height > _LARGE

    def pixels(self, at_least: int) -> tuple[Pixels, bytes | None]:
        """See `Still.pixels`."""
        if self._is_for_pillow:
            return self._by_pillow(), None
        values = decode_with_opencv(self._still())
        if values is None:
            raise UndecodableImage("corrupt", "libpng finds the file damaged")
        return from_opencv(values, self._icc, self._transparent_grey(values)), None

    def _by_pillow(self) -> Pixels:
        still = self._still()
        if not all(_is_whole(still, start, end) for _, start, end in _chunks(still)):
            raise UndecodableImage("corrupt", "a chunk of the PNG has another sum than it says")
        with told_as_ours():
            image = PngImageFile(io.BytesIO(still))
            image.load()
            return from_pillow(image, self._icc)

    def _still(self) -> bytes:
        """The file with nothing in it but the picture; its end is looked for, because a file that has none is cut."""
        still = list(self._needed)
        run, kind = True, b""
        for kind, start, end in self._chunks:
            run = run and kind == b"IDAT"
            if run:
                still.append(self._data[start - 8 : end + 4])
        if kind != b"IEND":
            raise UndecodableImage("truncated", "the PNG ends without its last chunk")
        return b"".join([*still, _END])

    def _keep(self, start: int, end: int) -> None:
        self._needed.append(self._data[start - 8 : end + 4])

    def _transparent_grey(self, values: np.ndarray) -> int | None:
        """The grey level that is not to be seen, as OpenCV widens the file's; which resolves palettes' and RGB's."""
        if self._colour != _GREY or self._transparent is None or len(self._transparent) != 2 or values.ndim != 2:
            return None
        level = int.from_bytes(self._transparent) & ((1 << self._bits) - 1)
        return level if self._bits >= 8 else level * 255 // ((1 << self._bits) - 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of what each chunk holds, to the last one; ends without it where the file ends too early."""
    at = len(START)
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if not kind.isalpha():
            raise UndecodableImage("corrupt", f"the PNG has a chunk of kind {kind!r}")
        if size > len(data) - at - 12:
            raise UndecodableImage(
                "truncated", f"the PNG's chunk {kind.decode()} has {size} bytes, {len(data) - at - 12} are there"
            )
        if not kind[0] & 32 and kind not in _CRITICAL and kind != b"CgBI":
            raise UndecodableImage("unsupported", f"a PNG with the chunk {kind.decode()}, which no standard names")
        yield kind, at + 8, at + 8 + size
        if kind == b"IEND":
            return
        at += 12 + size


def _is_whole(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(data[start - 4 : end]) == int.from_bytes(data[end : end + 4])


def _profile(chunk: bytes) -> bytes | None:
    """The profile of a chunk iCCP; none if it is damaged or makes far more of itself than it is, as libpng has it."""
    name, zero, rest = chunk.partition(b"\0")
    if not zero or not 1 <= len(name) <= 79 or rest[:1] != b"\0":
        return None
    try:
        unpacker = zlib.decompressobj()
        profile = unpacker.decompress(rest[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof and profile else None
