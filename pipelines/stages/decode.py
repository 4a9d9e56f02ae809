"""From fetched bytes to the bytes a shard stores: opened, refused by shape, decoded, resized, encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dalle.pictures.colour import to_srgb
from dalle.pictures.images import MAX_PIXELS, Picture, UndecodableImage, open_picture
from dalle.pictures.resize import (
    LONGEST_SIDE,
    EncodeFormat,
    ResizeMode,
    decoded_size_needed,
    encode,
    memory_to_store,
    resize,
    resized_size,
)
from schemas.ranges import Between, check_ranges
from schemas.reasons import NotKept

_RANGES = {
    "image_size": Between(1, max(LONGEST_SIDE.values())),
    "max_pixels": Between(1, 1 << 32),  # more than a JPEG can have; 32 GB of memory that a process may take
}
_EXTENSION = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What a stored picture looks like; names and meanings are img2dataset's."""

    image_size: int = 256
    """Side in pixels that a picture is resized to, 1 to 1,000,000; which side, --resize_mode says."""
    resize_mode: ResizeMode = "center_crop"
    """How a picture is resized to --image_size. center_crop: the middle as a square of it; keep_ratio: its shorter
    side; keep_ratio_largest: its longer side; border: its longer side, filled up with white to a square; no: not at
    all."""
    resize_only_if_bigger: bool = False
    """Do not resize pictures that would be enlarged."""
    encode_format: EncodeFormat = "jpg"
    """Format in which pictures are stored."""
    encode_quality: int = 95
    """Quality of stored pictures, 0 to 100, for jpg and webp; for png the level of compression, 0 to 9."""
    extract_exif: bool = True
    """Keep the original's EXIF tags in the ledger's column exif, all but those that say where it was taken: at most 16
    KiB, by the order of their names; those that have no room left are left out."""
    skip_reencode: bool = False
    """Store the fetched bytes themselves where the picture is of --encode_format, needs no resizing and shows the same
    without its EXIF and colour profile."""
    max_pixels: int = MAX_PIXELS
    """Pixels that a fetched picture may have, width times height, 1 to 4,294,967,296; one with more fails as
    too-many-pixels before it is decoded. Each pixel stands for 7.5 bytes of memory that a picture may take, 256 MB at
    least; one that would take more fails as decoder-memory."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        highest = 9 if self.encode_format == "png" else 100
        if not 0 <= self.encode_quality <= highest:
            raise ValueError(
                f"--encode_quality {self.encode_quality}: expected 0 to {highest} for {self.encode_format}"
            )
        check_ranges(self, _RANGES)
        self._check_size()

    def _check_size(self) -> None:
        """A size that no picture could be stored at."""
        longest = LONGEST_SIDE[self.encode_format]
        if self.resize_mode == "no" or self.resize_only_if_bigger:
            return
        if self.image_size > longest:
            raise ValueError(f"--image_size {self.image_size}: {self.encode_format} holds sides up to {longest}")
        if self.resize_mode != "keep_ratio_largest" and self.image_size**2 > self.most_stored:
            raise ValueError(
                f"--image_size {self.image_size}: stored pictures would have more pixels than {self.most_stored}; "
                "--max_pixels allows more"
            )

    @property
    def most_stored(self) -> int:
        """Pixels that a stored picture may have; enlarged ones may have more than was fetched."""
        return max(self.max_pixels, MAX_PIXELS)

    def stored_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that a picture of these is stored with."""
        only = self.resize_only_if_bigger
        return resized_size(width, height, self.image_size, self.resize_mode, only_if_bigger=only)


@dataclass(frozen=True)
class Stored:
    """A picture as the shard will hold it, with what the ledger says of it; or why there is none."""

    data: bytes = b""
    columns: dict[str, Any] = field(default_factory=dict)
    problem: NotKept | None = None


def to_stored(
    data: bytes, options: PictureOptions, refuse: Callable[[int, int], NotKept | None] = lambda w, h: None
) -> Stored:
    """Make the stored picture of fetched bytes.

    Args:
        data: as fetched.
        options: what a stored picture looks like.
        refuse: gives, from width and height in pixels, why such a picture is refused, or None; called before decoding.
    """
    columns: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest()}
    try:
        picture = open_picture(data, options.max_pixels)
        columns |= {
            "original_width": picture.width,
            "original_height": picture.height,
            "exif": picture.exif_json() if options.extract_exif else None,
        }
        if problem := refuse(picture.width, picture.height) or unstorable(picture.width, picture.height, options):
            return Stored(columns=columns, problem=problem)
        stored, width, height = _stored(data, picture, options)
    except UndecodableImage as error:
        return Stored(columns=columns, problem=NotKept(error.reason, str(error)))
    columns |= {"width": width, "height": height, "stored_sha256": hashlib.sha256(stored).hexdigest()}
    return Stored(stored, columns)


def unstorable(width: int, height: int, options: PictureOptions) -> NotKept | None:
    """Why a picture of this size cannot be stored as it would be resized, if so."""
    to, longest = options.stored_size(width, height), LONGEST_SIDE[options.encode_format]
    what = f"{width} x {height} would be stored as {to[0]} x {to[1]}"
    if max(to) > longest:
        return NotKept("too-long", f"{what}, {options.encode_format} holds sides up to {longest}")
    if to[0] * to[1] > options.most_stored:
        return NotKept("too-long", f"{what}, more than {options.most_stored} pixels")
    return None


def _stored(data: bytes, picture: Picture, options: PictureOptions) -> tuple[bytes, int, int]:
    pixels, profile = picture.unconverted(decoded_size_needed(options.image_size, options.resize_mode))
    size = (pixels.shape[1], pixels.shape[0])
    source = (min(size),) * 2 if options.resize_mode == "center_crop" else size
    needed = memory_to_store(source, options.stored_size(*size), options.encode_format)
    picture.check_memory(pixels.nbytes + needed)
    resized = resize(pixels, options.image_size, options.resize_mode, only_if_bigger=options.resize_only_if_bigger)
    if profile:
        resized = to_srgb(resized, profile)
    height, width = resized.shape[:2]
    if max(height, width) > LONGEST_SIDE[options.encode_format]:  # what was decoded smaller may be rounded otherwise
        raise UndecodableImage("too-long", f"{width} x {height} pixels cannot be stored as {options.encode_format}")
    is_as_wanted = (height, width) == (picture.height, picture.width) and picture.is_plain
    if options.skip_reencode and is_as_wanted and _EXTENSION.get(picture.format) == options.encode_format:
        return data, width, height
    return encode(resized, options.encode_format, options.encode_quality), width, height
