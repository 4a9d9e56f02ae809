"""What people do to a picture before they post it again: one plain function an edit.

Every edit takes pixels (uint8 RGB, [H, W, 3], at least 16 px a side), a strength in the unit its
docstring names, and a numpy Generator that draws what is left open (a place, a colour, a sign). It returns
new pixels and leaves its argument alone. The same pixels, strength and generator state give the same bytes.

`EDITS` lists them all by name, with the strengths that the benchmark and the sample use, mild first. Training
a detector draws parameters from ranges of its own (`dalle.train_detector`).

Edits that draw something on or around the picture live in `dalle.pictures.overlays`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from dalle.pictures import overlays
from dalle.pictures.pixels import Pixels

EditFunction = Callable[[Pixels, float, np.random.Generator], Pixels]

SHRINK = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)  # what programs use, aliasing and all
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _bytes(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _lookup(pixels: Pixels, curve: np.ndarray) -> Pixels:
    """Apply a tone curve given at the 256 grey levels."""
    return cv2.LUT(pixels, _bytes(curve))


def _resize(pixels: Pixels, height: float, width: float, interpolation: int) -> Pixels:
    return cv2.resize(pixels, (max(round(width), 8), max(round(height), 8)), interpolation=interpolation)


def _through(extension: str, pixels: Pixels, *flags: int) -> Pixels:
    """The pixels after being written to a file of this kind and read again."""
    _, encoded = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


# Files


def jpeg(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Save as JPEG; quality 1 to 100."""
    return _through(".jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, round(quality))


def webp(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Save as WebP; quality 1 to 100."""
    return _through(".webp", pixels, cv2.IMWRITE_WEBP_QUALITY, round(quality))


def palette(pixels: Pixels, colours: float, rng: np.random.Generator) -> Pixels:
    """Save as GIF: at most this many colours, dithered."""
    indexed = Image.fromarray(pixels).quantize(round(colours), Image.Quantize.FASTOCTREE)
    return np.asarray(Image.fromarray(pixels).quantize(palette=indexed).convert("RGB"))


# Sizes


def downscale(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Shrink both sides to this fraction."""
    height, width = pixels.shape[:2]
    return _resize(pixels, height * factor, width * factor, SHRINK[rng.integers(len(SHRINK))])


def upscale(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Enlarge both sides by this factor."""
    height, width = pixels.shape[:2]
    interpolation = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(2)]
    return _resize(pixels, height * factor, width * factor, interpolation)


def pixelate(pixels: Pixels, blocks: float, rng: np.random.Generator) -> Pixels:
    """Squares of one colour; so many along the shorter side."""
    height, width = pixels.shape[:2]
    scale = blocks / min(height, width)
    small = _resize(pixels, height * scale, width * scale, cv2.INTER_AREA)
    return _resize(small, height, width, cv2.INTER_NEAREST)


def squash(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Change the width to this fraction and leave the height."""
    height, width = pixels.shape[:2]
    return _resize(pixels, height, width * factor, cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


# Parts


def crop(pixels: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    """Keep this fraction of the area, somewhere, in the same shape."""
    height, width = pixels.shape[:2]
    return _window(pixels, height * area**0.5, width * area**0.5, rng)


def trim(pixels: Pixels, kept: float, rng: np.random.Generator) -> Pixels:
    """Cut off one side, so that this fraction of the picture is left."""
    side = rng.integers(4)
    height, width = pixels.shape[:2]
    if side < 2:
        rows = max(round(height * kept), 8)
        return pixels[:rows].copy() if side else pixels[-rows:].copy()
    columns = max(round(width * kept), 8)
    return pixels[:, :columns].copy() if side == 2 else pixels[:, -columns:].copy()


def reframe(pixels: Pixels, aspect: float, rng: np.random.Generator) -> Pixels:
    """Crop to this width over height, as large as fits, near the middle."""
    height, width = pixels.shape[:2]
    new_height, new_width = min(height, width / aspect), min(width, height * aspect)
    top = round((height - new_height) * rng.uniform(0.3, 0.7))
    left = round((width - new_width) * rng.uniform(0.3, 0.7))
    return pixels[top : top + max(round(new_height), 8), left : left + max(round(new_width), 8)].copy()


def _window(pixels: Pixels, height: float, width: float, rng: np.random.Generator) -> Pixels:
    rows, columns = max(round(height), 8), max(round(width), 8)
    top = rng.integers(max(pixels.shape[0] - rows, 0) + 1)
    left = rng.integers(max(pixels.shape[1] - columns, 0) + 1)
    return pixels[top : top + rows, left : left + columns].copy()


# Positions


def mirror(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Left becomes right; the strength is not used."""
    return np.ascontiguousarray(pixels[:, ::-1])


def rotate(pixels: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Turn clockwise or anticlockwise; the corners become black or white."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees * rng.choice((-1, 1)), 1)
    corner = int(rng.choice((0, 255)))
    return cv2.warpAffine(pixels, matrix, (width, height), borderValue=(corner,) * 3)


def straighten(pixels: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Turn clockwise or anticlockwise and zoom in until no corner is empty."""
    height, width = pixels.shape[:2]
    angle = np.radians(degrees)
    zoom = np.cos(angle) + np.sin(angle) * max(height, width) / min(height, width)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees * rng.choice((-1, 1)), zoom)
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def perspective(pixels: Pixels, shift: float, rng: np.random.Generator) -> Pixels:
    """Photographed from one side: each corner moves inwards by up to this fraction of the sides."""
    height, width = pixels.shape[:2]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    moved = corners + (1 - 2 * corners) * rng.uniform(0, shift, (4, 2)).astype(np.float32)
    size = np.array([width, height], np.float32)
    matrix = cv2.getPerspectiveTransform(corners * size, moved * size)
    colour = tuple(int(level) for level in rng.integers(0, 256, 3))
    return cv2.warpPerspective(pixels, matrix, (width, height), borderValue=colour)


# Tones and colours


def brightness(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Multiply all levels."""
    return _lookup(pixels, np.arange(256) * factor)


def contrast(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Stretch or squeeze all levels about the mean."""
    mean = float(pixels.mean())
    return _lookup(pixels, mean + (np.arange(256) - mean) * factor)


def gamma(pixels: Pixels, exponent: float, rng: np.random.Generator) -> Pixels:
    """Lighten (exponent below 1) or darken the middle tones."""
    return _lookup(pixels, 255 * (np.arange(256) / 255) ** exponent)


def saturation(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Make colours duller (below 1) or louder (above 1)."""
    luma = (pixels @ LUMA)[..., None]
    return _bytes(luma + (pixels - luma) * np.float32(factor))


def hue(pixels: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Turn the colour circle one way or the other."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    shift = round(degrees / 360 * 256) * int(rng.choice((-1, 1)))
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + shift).astype(np.uint8)  # wraps round
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def grey(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Black and white, mixed in by this fraction."""
    return saturation(pixels, 1 - strength, rng)


def tint(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A filter that pulls all colours towards one (sepia and its kin), 0 to 1."""
    colour = rng.uniform(0.5, 1.1, 3).astype(np.float32)
    toned = (pixels @ LUMA)[..., None] * colour + 16
    return _bytes(pixels + (toned - pixels) * np.float32(strength))


def equalise(pixels: Pixels, clip: float, rng: np.random.Generator) -> Pixels:
    """Local contrast, as an "auto enhance" button does; clip limit 1 and above."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip, (4, 4)).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def posterise(pixels: Pixels, levels: float, rng: np.random.Generator) -> Pixels:
    """So many levels a colour."""
    steps = round(levels) - 1
    return _lookup(pixels, np.rint(np.arange(256) / 255 * steps) / steps * 255)


def vignette(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Darken towards the corners, 0 to 1."""
    height, width = pixels.shape[:2]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    shade = 1 - np.float32(strength) * (rows**2 + columns**2) / 2
    return _bytes(pixels * shade[..., None])


# Sharpness and noise


def blur(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Out of focus; sigma as a fraction of the shorter side."""
    return cv2.GaussianBlur(pixels, (0, 0), sigma * min(pixels.shape[:2]))


def motion(pixels: Pixels, length: float, rng: np.random.Generator) -> Pixels:
    """The camera moved; length as a fraction of the shorter side."""
    size = max(round(length * min(pixels.shape[:2])), 3) | 1
    angle = rng.uniform(0, np.pi)
    centre, reach = size // 2, size / 2 * np.array([np.cos(angle), np.sin(angle)])
    kernel = np.zeros((size, size), np.float32)
    ends = [tuple(int(value) for value in np.rint(centre + sign * reach)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def sharpen(pixels: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Unsharp mask; 1 doubles the fine detail."""
    soft = cv2.GaussianBlur(pixels, (0, 0), 0.006 * min(pixels.shape[:2]) + 0.5)
    return cv2.addWeighted(pixels, 1 + amount, soft, -amount, 0)


def noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Sensor noise; standard deviation in grey levels."""
    return _bytes(pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(deviation))


def specks(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Salt and pepper on this fraction of the pixels."""
    draw = rng.random(pixels.shape[:2], np.float32)
    edited = pixels.copy()
    edited[draw < share / 2] = 0
    edited[draw > 1 - share / 2] = 255
    return edited


# Several at once


def repost(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Through a social network: cropped a little, then twice shrunk and recompressed; 0 to 1."""
    pixels = crop(pixels, 1 - 0.25 * strength, rng)
    for _ in range(2):
        pixels = jpeg(downscale(pixels, 1 - 0.4 * strength, rng), 85 - 60 * strength, rng)
    return pixels


def photo_filter(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A phone's filter: tint, contrast, saturation and vignette together; 0 to 1."""
    pixels = tint(pixels, 0.5 * strength, rng)
    pixels = contrast(pixels, 1 + 0.6 * strength * rng.choice((-0.8, 1)), rng)
    pixels = saturation(pixels, 1 + strength * rng.choice((-0.8, 1)), rng)
    return vignette(pixels, 0.7 * strength, rng)


def rephotograph(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Printed and photographed, or taken from a screen: perspective, uneven light, blur, noise; 0 to 1."""
    pixels = perspective(pixels, 0.12 * strength, rng)
    light = np.linspace(1 - 0.5 * strength, 1 + 0.3 * strength, pixels.shape[1], dtype=np.float32)
    pixels = _bytes(pixels * light[None, :: rng.choice((-1, 1)), None])
    return jpeg(noise(blur(pixels, 0.006 * strength, rng), 12 * strength, rng), 80 - 40 * strength, rng)


def combine(pixels: Pixels, count: float, rng: np.random.Generator) -> Pixels:
    """So many different single edits one after the other, each at its mildest."""
    chosen = rng.choice(len(SINGLE), size=round(count), replace=False)
    for index in chosen:
        edit = EDITS[SINGLE[index]]
        pixels = edit.apply(pixels, edit.strengths[0], rng)
    return pixels


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A kind of edit."""

    apply: EditFunction
    strengths: tuple[float, ...]
    """The strengths that are measured, in the function's own unit, mild first."""


def _edit(apply: EditFunction, *strengths: float) -> Edit:
    return Edit(apply=apply, strengths=strengths)


EDITS: dict[str, Edit] = {
    "jpeg": _edit(jpeg, 75, 40, 15, 8),
    "webp": _edit(webp, 75, 30, 5),
    "palette": _edit(palette, 128, 32, 12),
    "downscale": _edit(downscale, 0.75, 0.5, 0.25, 0.15),
    "upscale": _edit(upscale, 1.5, 2),
    "pixelate": _edit(pixelate, 96, 64, 40),
    "squash": _edit(squash, 0.8, 1.33, 0.65, 1.6),
    "mild-crop": _edit(crop, 0.95, 0.9, 0.8),
    "crop": _edit(crop, 0.7, 0.6, 0.5, 0.4),
    "trim": _edit(trim, 0.85, 0.7, 0.55),
    "reframe": _edit(reframe, 1, 0.8, 1.78, 0.5625),
    "mirror": _edit(mirror, 1),
    "rotate": _edit(rotate, 3, 8, 15),
    "straighten": _edit(straighten, 2, 5, 10),
    "perspective": _edit(perspective, 0.06, 0.12, 0.2),
    "brightness": _edit(brightness, 0.8, 1.3, 0.5, 1.7),
    "contrast": _edit(contrast, 0.75, 1.3, 0.5, 1.8),
    "gamma": _edit(gamma, 0.75, 1.4, 0.5, 2.2),
    "saturation": _edit(saturation, 0.5, 1.6, 2.5),
    "hue": _edit(hue, 15, 40, 90),
    "grey": _edit(grey, 1),
    "tint": _edit(tint, 0.4, 0.7, 1),
    "equalise": _edit(equalise, 1.5, 3, 6),
    "posterise": _edit(posterise, 12, 6, 4),
    "vignette": _edit(vignette, 0.4, 0.7, 1),
    "blur": _edit(blur, 0.004, 0.009, 0.018),
    "motion": _edit(motion, 0.02, 0.04, 0.07),
    "sharpen": _edit(sharpen, 0.7, 1.5, 3),
    "noise": _edit(noise, 10, 25, 50),
    "specks": _edit(specks, 0.01, 0.04, 0.1),
    "text": _edit(overlays.text, 0.06, 0.1, 0.16),
    "meme": _edit(overlays.meme, 0.12, 0.18, 0.25),
    "emoji": _edit(overlays.emoji, 0.15, 0.25, 0.4),
    "watermark": _edit(overlays.watermark, 0.2, 0.4, 0.65),
    "cover": _edit(overlays.cover, 0.05, 0.12, 0.2),
    "redact": _edit(overlays.redact, 0.05, 0.12, 0.2),
    "border": _edit(overlays.border, 0.04, 0.1, 0.2, 0.35),
    "letterbox": _edit(overlays.letterbox, 1, 1.78, 0.5625),
    "blurred-border": _edit(overlays.blurred_border, 1, 1.78, 0.5625),
    "picture-in-picture": _edit(overlays.picture_in_picture, 0.85, 0.7, 0.55),
    "side-by-side": _edit(overlays.side_by_side, 0.35, 0.5),
    "screenshot": _edit(overlays.screenshot, 0.1, 0.2, 0.3),
    "repost": _edit(repost, 0.3, 0.6, 1),
    "photo-filter": _edit(photo_filter, 0.4, 0.7, 1),
    "rephotograph": _edit(rephotograph, 0.3, 0.6, 1),
    "combine": _edit(combine, 2, 3, 4),
}
"""All kinds of edits by name."""

SINGLE = [name for name in EDITS if name not in ("repost", "photo-filter", "rephotograph", "combine")]
