"""Edits that draw something on or around a picture: text, stickers, borders, other pictures, a screen.

They follow the rules of `dalle.pictures.edits`: pixels (uint8 RGB, [H, W, 3]), a strength, a Generator. Lengths are
fractions of the shorter side, so that an edit looks the same at any size. Letters are Pillow's built-in font;
emoji are drawn here, so nothing of unknown licence is used.
"""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dalle.pictures.pixels import Pixels

Colour = tuple[int, int, int]

LETTERS = "eeeeeettttaaaaoooiiinnnsssrrrhhhlldduuccmmffppggwwyybbvvkxjqz"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@lru_cache(maxsize=256)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def words(count: int, rng: np.random.Generator) -> str:
    """Letters with the lengths and frequencies of English words."""
    lengths = rng.integers(2, 9, count)
    letters = [LETTERS[index] for index in rng.integers(len(LETTERS), size=int(lengths.sum()))]
    ends = np.cumsum(lengths)
    text = " ".join("".join(letters[end - length : end]) for end, length in zip(ends, lengths, strict=True))
    return (text, text.upper(), text.title())[rng.integers(3)]


def colour(rng: np.random.Generator) -> Colour:
    """Black, white, or any colour, a third each."""
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return (BLACK, WHITE, (red, green, blue))[rng.integers(3)]


def ink_for(paper: Colour) -> Colour:
    """Black on light paper, white on dark."""
    return BLACK if sum(paper) > 380 else WHITE


def _pasted(canvas: Pixels, pixels: Pixels, top: int, left: int) -> Pixels:
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _resized(pixels: Pixels, height: float, width: float) -> Pixels:
    size = max(round(width), 1), max(round(height), 1)
    shrinks = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


# On the picture


def text(pixels: Pixels, size: float, rng: np.random.Generator) -> Pixels:
    """One to three lines of text with an outline; size is the height of a letter."""
    image = Image.fromarray(pixels)
    points = max(round(size * min(image.size)), 6)
    for _ in range(rng.integers(1, 4)):
        corner = rng.uniform(-0.05, 0.5) * image.width, rng.uniform(0, max(1 - size, 0.1)) * image.height
        ink = colour(rng)
        outline = int(rng.integers(2)) * max(points // 12, 1)
        ImageDraw.Draw(image).text(
            corner,
            words(int(rng.integers(1, 5)), rng),
            ink,
            _font(points),
            stroke_width=outline,
            stroke_fill=ink_for(ink),
        )
    return np.array(image)


def watermark(pixels: Pixels, opacity: float, rng: np.random.Generator) -> Pixels:
    """The same words all over, aslant, 0 (invisible) to 1 (opaque)."""
    height, width = pixels.shape[:2]
    reach = round(np.hypot(height, width))
    points = max(round(rng.uniform(0.05, 0.12) * min(height, width)), 6)
    label = words(2, rng)
    tile = Image.new("L", (max(round(_font(points).getlength(label) * 1.3), points), 3 * points))
    ImageDraw.Draw(tile).text((0, points), label, 255, _font(points))
    row = np.tile(np.asarray(tile), (1, 2 * reach // tile.width + 2))
    bricks = np.concatenate([row[:, :reach], row[:, tile.width // 2 : tile.width // 2 + reach]])
    layer = np.tile(bricks, (reach // len(bricks) + 1, 1))[:reach]
    turn = cv2.getRotationMatrix2D((reach / 2, reach / 2), float(rng.uniform(-40, 40)), 1)
    turn[:, 2] -= (reach - width) / 2, (reach - height) / 2
    mask = cv2.warpAffine(layer, turn, (width, height))[..., None].astype(np.float32) * np.float32(opacity / 255)
    ink = np.array(colour(rng), np.float32)
    return np.rint(pixels + (ink - pixels) * mask).astype(np.uint8)


def emoji(pixels: Pixels, size: float, rng: np.random.Generator) -> Pixels:
    """One or two stickers of this diameter."""
    edited = pixels.copy()
    for _ in range(rng.integers(1, 3)):
        side = max(round(size * min(pixels.shape[:2])), 4)
        sticker = _sticker(side, rng)
        top, left = (int(rng.integers(max(length - side, 0) + 1)) for length in pixels.shape[:2])
        under = edited[top : top + side, left : left + side]
        sticker = sticker[: under.shape[0], : under.shape[1]]
        alpha = sticker[..., 3:].astype(np.float32) / 255
        under[:] = np.rint(under + (sticker[..., :3].astype(np.float32) - under) * alpha).astype(np.uint8)
    return edited


def _sticker(side: int, rng: np.random.Generator) -> Pixels:
    """[side, side, 4] RGBA: a face, a heart, a star or a flower, turned a little."""
    image = Image.new("RGBA", (96, 96))
    draw = ImageDraw.Draw(image)
    (_face, _heart, _star, _flower)[rng.integers(4)](draw, rng)
    turned = image.rotate(float(rng.uniform(-30, 30)), Image.Resampling.BILINEAR)
    return _resized(np.array(turned), side, side)


def _face(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    skin = (255, int(rng.integers(160, 220)), int(rng.integers(20, 90)))
    draw.ellipse((4, 4, 92, 92), skin, (190, 120, 10), 2)
    height, mouth = int(rng.integers(8, 18)), int(rng.integers(3))
    for x in (33, 63):
        draw.ellipse((x - 6, 38 - height // 2, x + 6, 38 + height // 2), (70, 40, 10))
    if mouth == 0:
        draw.arc((26, 34, 70, 76), 20, 160, (90, 40, 10), 5)
    elif mouth == 1:
        draw.chord((24, 36, 72, 82), 5, 175, (150, 30, 40))
    else:
        draw.ellipse((40, 58, 56, 78), (110, 40, 20))


def _heart(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 48 + 2.6 * 16 * np.sin(t) ** 3
    y = 44 - 2.6 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    red = (int(rng.integers(180, 256)), 30, int(rng.integers(120)))
    draw.polygon(list(zip(x.tolist(), y.tolist(), strict=True)), red)


def _star(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2, 19, 46)
    points = zip((48 + radii * np.cos(angles)).tolist(), (48 + radii * np.sin(angles)).tolist(), strict=True)
    draw.polygon(list(points), (255, int(rng.integers(170, 240)), 40))


def _flower(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    petal = (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))
    for angle in np.arange(6) * np.pi / 3:
        x, y = 48 + 26 * float(np.cos(angle)), 48 + 26 * float(np.sin(angle))
        draw.ellipse((x - 19, y - 19, x + 19, y + 19), petal)
    draw.ellipse((32, 32, 64, 64), (250, 210, 60))


def cover(pixels: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    """A block or disc of one colour over this fraction of the area."""
    edited = pixels.copy()
    top, left, height, width = _rectangle(pixels, area, rng)
    paint = colour(rng)
    if rng.random() < 0.5:
        edited[top : top + height, left : left + width] = paint
    else:
        centre, radii = (left + width // 2, top + height // 2), (width // 2, height // 2)
        cv2.ellipse(edited, centre, radii, 0, 0, 360, paint, -1)
    return edited


def redact(pixels: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    """This fraction of the area made unrecognisable, by blur or by big squares."""
    edited = pixels.copy()
    top, left, height, width = _rectangle(pixels, area, rng)
    part = edited[top : top + height, left : left + width]
    small = _resized(part, 5, 5)
    way = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_CUBIC
    part[:] = cv2.resize(small, (width, height), interpolation=way)
    return edited


def _rectangle(pixels: Pixels, area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a rectangle of this fraction of the area, somewhere inside."""
    stretch = float(rng.uniform(0.7, 1.4))
    height = max(round(pixels.shape[0] * min(area**0.5 * stretch, 1)), 2)
    width = max(round(pixels.shape[1] * min(area**0.5 / stretch, 1)), 2)
    top, left = rng.integers(pixels.shape[0] - height + 1), rng.integers(pixels.shape[1] - width + 1)
    return int(top), int(left), height, width


# Around the picture


def border(pixels: Pixels, width: float, rng: np.random.Generator) -> Pixels:
    """A frame of one colour; width of each of its four sides."""
    pad = max(round(width * min(pixels.shape[:2])), 1)
    return cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=colour(rng))


def letterbox(pixels: Pixels, aspect: float, rng: np.random.Generator) -> Pixels:
    """Bars of one colour, left and right or above and below, to this width over height."""
    height, width = _padded_size(pixels, aspect)
    canvas = np.full((height, width, 3), colour(rng), np.uint8)
    return _pasted(canvas, pixels, (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2)


def blurred_border(pixels: Pixels, aspect: float, rng: np.random.Generator) -> Pixels:
    """Bars that show the picture itself, enlarged and blurred, to this width over height."""
    height, width = _padded_size(pixels, aspect)
    small = _resized(pixels, 24, 24)
    canvas = _resized(cv2.GaussianBlur(small, (0, 0), float(rng.uniform(1, 2.5))), height, width)
    canvas = np.rint(canvas * rng.uniform(0.5, 1)).astype(np.uint8)
    return _pasted(canvas, pixels, (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2)


def _padded_size(pixels: Pixels, aspect: float) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return max(height, round(width / aspect)), max(width, round(height * aspect))


def meme(pixels: Pixels, height: float, rng: np.random.Generator) -> Pixels:
    """A band of this height with a line of text above the picture, below it, or both."""
    bar = max(round(height * min(pixels.shape[:2])), 6)
    paper = WHITE if rng.random() < 0.7 else BLACK
    where = int(rng.integers(3))
    bands = [_band(pixels.shape[1], bar, paper, rng) for _ in range(2)]
    return np.concatenate([*bands[: where != 1], pixels, *bands[: where != 0]])


def _band(width: int, height: int, paper: Colour, rng: np.random.Generator) -> Pixels:
    image = Image.new("RGB", (width, height), paper)
    corner = float(rng.uniform(0.02, 0.3)) * width, 0.15 * height
    label, font = words(int(rng.integers(2, 7)), rng), _font(max(round(height * 0.6), 5))
    ImageDraw.Draw(image).text(corner, label, ink_for(paper), font)
    return np.array(image)


def screenshot(pixels: Pixels, margin: float, rng: np.random.Generator) -> Pixels:
    """Shown in a page: a bar with buttons above, lines of text below; margin left free on each side."""
    height, width = pixels.shape[:2]
    unit = margin * min(height, width)
    left, top, below = (round(unit * rng.uniform(*span)) for span in ((0.1, 1), (0.6, 1.6), (0.6, 2)))
    paper = ((255, 255, 255), (245, 246, 248), (24, 26, 30))[rng.integers(3)]
    image = Image.new("RGB", (width + 2 * left, height + top + below), paper)
    draw = ImageDraw.Draw(image)
    ink, grey = ink_for(paper), (150, 150, 150)
    draw.rectangle((0, 0, image.width, round(top * 0.45)), colour(rng))
    for number in range(3):
        x, r = top * (0.2 + 0.35 * number), top * 0.1
        draw.ellipse((x, top * 0.22 - r, x + 2 * r, top * 0.22 + r), grey)
    points = max(round(min(top, below) * 0.25), 5)
    draw.text((left + 2, round(top * 0.6)), words(4, rng), ink, _font(points))
    for line in range(int(rng.integers(1, 4))):
        y = top + height + round(below * (0.1 + 0.3 * line))
        draw.text((left + 2, y), words(int(rng.integers(3, 8)), rng), (ink, grey)[line > 0], _font(points))
    return _pasted(np.array(image), pixels, top, left)


# With other pictures


def picture_in_picture(
    pixels: Pixels, side: float, rng: np.random.Generator, *, backdrop: Pixels | None = None
) -> Pixels:
    """Laid on another picture (a drawn one if none is given), taking this fraction of its sides."""
    height, width = (round(length / side) for length in pixels.shape[:2])
    canvas = _resized(_backdrop(rng) if backdrop is None else backdrop, height, width)
    top, left = rng.integers(height - pixels.shape[0] + 1), rng.integers(width - pixels.shape[1] + 1)
    return _pasted(canvas, pixels, int(top), int(left))


def side_by_side(pixels: Pixels, share: float, rng: np.random.Generator, *, backdrop: Pixels | None = None) -> Pixels:
    """Next to another picture (a drawn one if none is given), which takes this share of the whole."""
    other = _backdrop(rng) if backdrop is None else backdrop
    height, width = pixels.shape[:2]
    axis, first = int(rng.integers(2)), bool(rng.integers(2))
    grown = share / (1 - share)
    other = _resized(other, height * (1 if axis else grown), width * (grown if axis else 1))
    return np.concatenate([pixels, other] if first else [other, pixels], axis=axis)


def _backdrop(rng: np.random.Generator) -> Pixels:
    """A gradient with some discs and blocks on it, 128 x 128."""
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    canvas = cv2.resize(corners, (128, 128), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(3, 12)):
        x, y, a, b = (int(value) for value in rng.integers(0, 128, 4))
        paint = colour(rng)
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), a // 4 + 3, paint, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + a // 3, y + b // 3), paint, -1)
    return canvas
