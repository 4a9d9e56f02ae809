"""What the built-in detector learns from: two edited views each of pictures that are like no other in the batch.

A pair is a function of seed, step and its position in the batch and of nothing else, so training can be resumed and
does not depend on the number of workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dalle import scenes
from dalle.detectors.thumbnails import thumbnail
from dalle.pictures import drawn_textures, edits, overlays
from dalle.pictures import folders as picture_folders
from dalle.pictures.folders import picture_files
from dalle.pictures.pixels import Pixels

Ranged = tuple[Callable, float, float]

GEOMETRY: tuple[Ranged, ...] = (
    (edits.crop, 0.35, 1),
    (edits.crop, 0.35, 0.8),
    (edits.crop, 0.35, 0.6),
    (edits.trim, 0.5, 0.95),
    (edits.reframe, 0.55, 1.8),
    (edits.squash, 0.6, 1.7),
    (edits.rotate, 0, 20),
    (edits.straighten, 0, 14),
    (edits.perspective, 0, 0.25),
)
COLOUR: tuple[Ranged, ...] = (
    (edits.brightness, 0.4, 1.9),
    (edits.contrast, 0.4, 2),
    (edits.gamma, 0.4, 2.5),
    (edits.saturation, 0, 3),
    (edits.hue, 0, 120),
    (edits.hue, 30, 120),
    (edits.grey, 1, 1),
    (edits.grey, 1, 1),
    (edits.tint, 0.2, 1),
    (edits.tint, 0.5, 1),
    (edits.equalise, 1, 7),
    (edits.posterise, 3, 16),
    (edits.vignette, 0.2, 1.2),
)
PIXELS: tuple[Ranged, ...] = (
    (edits.jpeg, 6, 80),
    (edits.palette, 8, 128),
    (edits.downscale, 0.3, 0.9),
    (edits.pixelate, 32, 100),
    (edits.blur, 0.002, 0.022),
    (edits.motion, 0.01, 0.08),
    (edits.sharpen, 0.5, 3.5),
    (edits.noise, 3, 35),
    (edits.specks, 0.003, 0.08),
)
ON_TOP: tuple[Ranged, ...] = (
    (overlays.text, 0.05, 0.2),
    (overlays.emoji, 0.12, 0.5),
    (overlays.watermark, 0.15, 0.7),
    (overlays.cover, 0.02, 0.25),
    (overlays.redact, 0.02, 0.25),
)
AROUND: tuple[Ranged, ...] = (
    (overlays.border, 0.02, 0.4),
    (overlays.letterbox, 0.5, 2),
    (overlays.blurred_border, 0.5, 2),
    (overlays.blurred_border, 0.5, 2),
    (overlays.picture_in_picture, 0.5, 0.95),
    (overlays.picture_in_picture, 0.5, 0.7),
    (overlays.picture_in_picture, 0.5, 0.7),
    (overlays.side_by_side, 0.2, 0.55),
    (overlays.side_by_side, 0.35, 0.55),
    (overlays.screenshot, 0.05, 0.35),
    (overlays.screenshot, 0.2, 0.35),
    (overlays.meme, 0.08, 0.3),
)
WITH_OTHERS = (overlays.picture_in_picture, overlays.side_by_side)


@dataclass(frozen=True, kw_only=True)
class LearningPictures:
    """What pairs are made from."""

    photos: list[Pixels]
    """Photographs, of which no two are copies of one another."""
    drawn: list[Pixels]
    """Drawn pictures."""
    side: int
    """The short side that all of them have, about, in pixels; a little more than the network sees."""


def read_pictures(
    folders: Sequence[Path], side: int, drawn: int, seed: int, hold_out_every: int = 0
) -> LearningPictures:
    """The photographs in some folders and their subfolders, and drawn pictures beside them.

    Args:
        folders: of pictures in any format that `dalle.pictures.images` decodes.
        side: the short side that photographs are shrunk to, in pixels; smaller ones are left as they are.
        drawn: how many pictures are drawn.
        seed: of the drawn ones.
        hold_out_every: one photograph in so many is left out, beginning with the first; 0 takes all.

    Raises:
        ValueError: if a folder has no pictures, one of them cannot be decoded (it is named), or none is left.
    """
    if not folders:
        raise ValueError("there are no photographs to learn from; --images names folders of them")
    files = [file for folder in folders for file in picture_files(folder)]
    files = [file for index, file in enumerate(files) if not hold_out_every or index % hold_out_every]
    if not files:
        raise ValueError(
            f"--hold_out_every {hold_out_every} leaves no photograph to learn from; expected 0, or 2 and more"
        )
    photos = [_shrunk(pixels, side) for pixels in picture_folders.read_pictures(files)]
    return LearningPictures(photos=photos, drawn=[_drawn(side, seed, index) for index in range(drawn)], side=side)


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    return edits.downscale(pixels, min(side / min(pixels.shape[:2]), 1), np.random.default_rng(0))


def _drawn(side: int, seed: int, index: int) -> Pixels:
    """Every third a scene, the others textures."""
    if index % 3 == 0:
        return scenes.draw(scenes.compose(seed * 1_000_000 + index, side, side))
    return drawn_textures.draw(side, np.random.default_rng((seed, index)))


def batch(pictures: LearningPictures, side: int, count: int, seed: tuple[int, int]) -> Pixels:
    """[2, count, side, side, 3]: two views each of pictures of which no two show the same photograph."""
    order = np.random.default_rng(seed).permutation(len(pictures.photos))
    rngs = [np.random.default_rng((*seed, position)) for position in range(count)]
    pairs = [pair(pictures, order[position % len(order)], side, rng) for position, rng in enumerate(rngs)]
    return np.stack(pairs, axis=1)


def pair(pictures: LearningPictures, photo: int, side: int, rng: np.random.Generator) -> Pixels:
    """[2, side, side, 3]: two views of one picture."""
    original = instance(pictures, photo, rng)
    first = lightly_edited(original, rng) if rng.random() < 0.5 else edited(original, pictures, rng)
    second = edited(original, pictures, rng)
    return np.stack([thumbnail(first, side), thumbnail(second, side)])


def instance(pictures: LearningPictures, photo: int, rng: np.random.Generator) -> Pixels:
    """A picture that no other in the batch is a copy of: this photograph, or one made of several, or a drawn one."""
    draw = rng.random()
    if draw < 0.55:
        return _turned(pictures.photos[photo], rng)
    if draw < 0.65:
        return _mixture(pictures, rng)
    if draw < 0.75:
        return _collage(pictures, rng)
    if draw < 0.83:
        fills = [_photo(pictures, rng) for _ in range(6)]
        return drawn_textures.leaves(pictures.side, rng, fills)
    return pictures.drawn[rng.integers(len(pictures.drawn))]


def _photo(pictures: LearningPictures, rng: np.random.Generator) -> Pixels:
    return pictures.photos[rng.integers(len(pictures.photos))]


def _turned(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Half the time upside down, on its side or recoloured: another picture with the same statistics."""
    if rng.random() < 0.5:
        return pixels
    pixels = np.rot90(pixels, int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[..., rng.permutation(3)]
    if rng.random() < 0.4:
        pixels = edits.crop(pixels, rng.uniform(0.3, 0.8), rng)
    return np.ascontiguousarray(pixels)


def _mixture(pictures: LearningPictures, rng: np.random.Generator) -> Pixels:
    """Two photographs through one another, by a soft mask."""
    square = (pictures.side, pictures.side)
    first, second = (cv2.resize(_photo(pictures, rng), square) for _ in range(2))
    grid = int(rng.integers(1, 5))
    mask = cv2.resize(rng.random((grid, grid), np.float32), square, interpolation=cv2.INTER_CUBIC)[..., None]
    mask = np.clip(mask * rng.uniform(1, 4) - rng.uniform(0, 1.5), 0, 1)
    return np.rint(first * mask + second * (1 - mask)).astype(np.uint8)


def _collage(pictures: LearningPictures, rng: np.random.Generator) -> Pixels:
    """Two to six photographs side by side."""
    rows, across = [], round(1.2 * pictures.side)
    for _ in range(rng.integers(1, 4)):
        cells = [_photo(pictures, rng) for _ in range(rng.integers(1, 3))]
        widths = rng.uniform(0.5, 1.5, len(cells))
        widths = np.rint(across * widths / widths.sum()).astype(int)
        height = round(pictures.side * rng.uniform(0.3, 0.7))
        row = np.concatenate([cv2.resize(c, (int(w), height)) for c, w in zip(cells, widths, strict=True)], axis=1)
        rows.append(cv2.resize(row, (across, height)))
    return np.concatenate(rows)


def lightly_edited(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """As it might be stored in a reference set."""
    if rng.random() < 0.3:
        pixels = edits.crop(pixels, rng.uniform(0.8, 1), rng)
    return edits.jpeg(pixels, rng.uniform(40, 95), rng) if rng.random() < 0.4 else pixels


def edited(pixels: Pixels, pictures: LearningPictures, rng: np.random.Generator) -> Pixels:
    """As it might be found somewhere, after one to six edits."""
    if rng.random() < 0.5:
        pixels = edits.mirror(pixels, 1, rng)
    for group, chances in ((GEOMETRY, (0.7, 0.2)), (COLOUR, (0.45, 0.15)), (ON_TOP, (0.25,))):
        pixels = _some(group, chances, pixels, pictures, rng)
    pixels = _some(AROUND, (0.4,), pixels, pictures, rng)
    return _some(PIXELS, (0.4, 0.1), pixels, pictures, rng)


def _some(
    group: tuple[Ranged, ...],
    chances: tuple[float, ...],
    pixels: Pixels,
    pictures: LearningPictures,
    rng: np.random.Generator,
) -> Pixels:
    """An edit of the group for each chance that comes up."""
    for chance in chances:
        if rng.random() < chance:
            edit, low, high = group[rng.integers(len(group))]
            others = (
                {"backdrop": instance(pictures, int(rng.integers(len(pictures.photos))), rng)}
                if edit in WITH_OTHERS and rng.random() < 0.8
                else {}
            )
            pixels = edit(pixels, rng.uniform(low, high), rng, **others)
    return pixels
