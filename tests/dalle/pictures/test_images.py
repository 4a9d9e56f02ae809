"""Bytes to right pixels: whatever way a picture was stored, what comes out is what a person would see."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import imagecodecs
import numpy as np
import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from dalle.pictures.images import UndecodableImage, decode, open_picture
from dalle.scenes import compose, draw
from pipelines.sample_web import pictures
from tests.dalle.pictures.files import saved, swapped_profile

SCENE = cv2.GaussianBlur(draw(compose(5, 301, 203)), (0, 0), 2)  # without grain, which lossy formats lose


def scene() -> Image.Image:
    return Image.fromarray(SCENE)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_are_exact(kind: str) -> None:
    """What was saved without loss is decoded without loss."""
    assert (SCENE == decode(saved(scene(), kind, **({"lossless": True} if kind == "WEBP" else {})))).all()


@pytest.mark.parametrize(("kind", "options"), [
    ("JPEG", {"quality": 95}), ("JPEG", {"quality": 95, "progressive": True}), ("JPEG", {"quality": 95, "subsampling": 0}),
    ("WEBP", {"quality": 95}), ("AVIF", {"quality": 95}), ("GIF", {}),
])  # fmt: skip
def test_lossy_formats_are_close(kind: str, options: dict) -> None:
    """Within what the format loses."""
    assert difference(SCENE, decode(saved(scene(), kind, **options))) < (9 if kind == "GIF" else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, kind: str) -> None:
    """All eight: the picture is shown the right way up and its size is told as it is shown."""
    back = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = saved(Image.fromarray(np.ascontiguousarray(back(SCENE))), kind, exif=exif, **options)
    picture = open_picture(data)
    assert (301, 203) == (picture.width, picture.height)
    assert difference(SCENE, picture.pixels()) < 3


@pytest.mark.parametrize("kind", sorted(pictures.ODD))
@pytest.mark.parametrize("number", range(3))
def test_odd_pictures_look_right(kind: str, number: int) -> None:
    """EXIF-turned, CMYK, 16-bit, grey and transparent pictures are shown as they should be."""
    data = pictures.ODD[kind](SCENE, number)
    assert difference(pictures.shown(kind, SCENE), decode(data)) < 4


@pytest.mark.parametrize(
    ("mode", "make"),
    [
        ("1", lambda: scene().convert("1")),
        ("P", lambda: scene().quantize(256)),
        ("LA", lambda: scene().convert("LA")),
        ("RGBA", lambda: scene().convert("RGBA")),
    ],
)
def test_every_mode_becomes_rgb(mode: str, make: Callable[[], Image.Image]) -> None:
    """Bilevel, palette and opaque alpha pictures are what Pillow shows of them."""
    image = make()
    assert image.mode == mode
    assert difference(np.asarray(image.convert("RGB")), decode(saved(image, "PNG"))) == 0


def test_transparent_palette_is_on_white() -> None:
    """A palette's transparent colour shows white, not what happens to lie under it."""
    image = Image.new("P", (20, 10), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (10, 0, 20, 10))
    pixels = decode(saved(image, "PNG", transparency=0))
    assert [255, 255, 255] == pixels[0, 0].tolist()
    assert [200, 100, 50] == pixels[0, 19].tolist()


def test_deep_grey_is_not_white() -> None:
    """16-bit grey is scaled by its range; Pillow's own conversion clips it to white."""
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (20, 1))
    ok, data = cv2.imencode(".png", ramp)
    assert ok
    assert difference(np.repeat(np.arange(256)[None, :, None], 3, axis=2).repeat(20, 0), decode(data.tobytes())) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_icc_profile_is_applied(kind: str) -> None:
    """A picture whose numbers mean other colours is shown in sRGB: red and blue swapped by its profile."""
    profile = swapped_profile()
    data = saved(
        Image.fromarray(np.ascontiguousarray(SCENE[..., ::-1])), kind, icc_profile=profile, **LOSSLESS.get(kind, {})
    )
    assert difference(SCENE, decode(data)) < 3
    assert not open_picture(data).is_plain


LOSSLESS: dict[str, dict] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}


def test_srgb_profile_changes_nothing() -> None:
    """The commonest profile is no reason to leave the fast path."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, tagged = (saved(scene(), "JPEG", quality=90, **extra) for extra in ({}, {"icc_profile": profile}))
    assert (decode(plain) == decode(tagged)).all()


def test_broken_profile_is_no_profile() -> None:
    """A profile that cannot be read does not lose the picture."""
    assert difference(SCENE, decode(saved(scene(), "PNG", icc_profile=b"no profile at all"))) == 0


def test_animation_gives_its_first_frame() -> None:
    """Of an animated GIF or WebP the first frame counts."""
    frames = [Image.fromarray(np.full((30, 40, 3), v, np.uint8)) for v in (40, 120, 200)]
    for kind in ("GIF", "WEBP"):
        data = saved(
            frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert difference(np.full((30, 40, 3), 40), decode(data)) < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_is_refused(kind: str, share: float) -> None:
    """A picture that ends too early is refused, never padded with grey."""
    data = saved(scene(), kind)
    with pytest.raises(UndecodableImage) as caught:
        decode(data[: int(len(data) * share)])
    assert caught.value.reason in ("truncated", "corrupt", "not-an-image")


def test_jpeg_cut_and_closed_is_refused() -> None:
    """Also where somebody put an end mark behind what was left."""
    data = saved(scene(), "JPEG")
    with pytest.raises(UndecodableImage, match="remature end"):
        decode(data[: len(data) // 2] + b"\xff\xd9")


def test_bytes_between_jpeg_segments_do_not_matter() -> None:
    """Sloppy writers put some there; all viewers skip them."""
    data = saved(scene(), "JPEG")
    at = data.index(b"\xff\xdb")
    assert (decode(data) == decode(data[:at] + b"\0\0\0" + data[at:])).all()


def test_bomb_is_refused_by_its_header() -> None:
    """400 megapixels in some kilobytes: nothing is decoded."""
    data = pictures.bomb()
    assert len(data) < 100_000
    with pytest.raises(UndecodableImage, match="20000 x 20000 is more than 100000000 pixels") as caught:
        open_picture(data)
    assert "too-many-pixels" == caught.value.reason


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'<?xml version="1.0"?><svg xmlns="x">', "SVG"),
        (b'{"error": 1}', "JSON"),
        (b"", "the bytes begin with b''"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "the bytes begin with"),
        (b"\x1f\x8b\x08rest", "gzip"),
    ],
)
def test_what_is_no_picture_says_what_it_is(data: bytes, message: str) -> None:
    """Formats that start programs (EPS) are not even tried."""
    with pytest.raises(UndecodableImage, match=message) as caught:
        open_picture(data)
    assert "not-an-image" == caught.value.reason


def test_dct_scaling_keeps_the_short_side() -> None:
    """A JPEG decoded small is still at least as long as asked, and close to the same picture shrunk."""
    big = draw(compose(6, 1000, 800))
    data = saved(Image.fromarray(big), "JPEG", quality=95)
    for at_least in (100, 200, 400, 401, 800):
        pixels = open_picture(data).pixels(at_least)
        assert at_least <= min(pixels.shape[:2])
    small = open_picture(data).pixels(200)
    assert (200, 250) == small.shape[:2]
    assert difference(cv2.resize(big, (250, 200), interpolation=cv2.INTER_AREA), small) < 3


def test_exif_is_told_without_places() -> None:
    """Camera and orientation are kept; where it was taken and binary blobs are not."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif.get_ifd(0x8769)[0x9003] = "2011:05:03 10:00:00"
    tags = json.loads(open_picture(saved(scene(), "JPEG", exif=exif)).exif_json())
    assert {"Make": "A camera", "Orientation": "6", "DateTimeOriginal": "2011:05:03 10:00:00"} == tags


def test_every_nasty_file_ends_well(data: Path) -> None:
    """1,698 odd, broken and hostile files: pixels or our own exception, nothing else."""
    kept = 0
    for file in sorted((data / "nasty").iterdir()):
        try:
            pixels = decode(file.read_bytes())
        except UndecodableImage as error:
            assert error.reason in ("not-an-image", "truncated", "corrupt", "too-many-pixels", "unsupported")
            assert str(error)
            continue
        assert np.uint8 == pixels.dtype
        assert (3, 3) == (pixels.ndim, pixels.shape[2])
        kept += 1
    assert kept > 500


def by_libvips(data: bytes) -> np.ndarray:
    image = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot()
    if image.get_typeof("icc-profile-data"):
        with contextlib.suppress(pyvips.Error):
            image = image.icc_transform(
                "srgb", embedded=True, intent="relative", black_point_compensation=True, depth=8
            )
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    return on_white(image.cast("uchar").numpy())


def by_ffmpeg(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return on_white(next(container.decode(video=0)).to_ndarray(format="rgba"))


def by_imagecodecs(data: bytes) -> np.ndarray:
    return on_white(imagecodecs.imread(data))


def on_white(values: np.ndarray) -> np.ndarray:
    values = values[..., None] if values.ndim == 2 else values
    values = values / 257 if values.dtype == np.uint16 else values.astype(float)
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:] / 255
        values = values[..., :-1] * alpha + 255 * (1 - alpha)
    return np.rint(np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values)


ORACLES = (by_libvips, by_ffmpeg, by_imagecodecs)
"""Readers that the project does not use."""
BY_HAND = {
    "gofuzz__bmp__4c663700395fd437f0d13473674c0602c9b26060.bmp": "FFmpeg takes the unused fourth byte for opacity",
    "gofuzz__bmp__d778f3b366f6f356dc53a85d0546500b53729ed3-2.bmp": "FFmpeg refuses it for the size its header tells",
    "gofuzz__tiff__1f1629670972c4379f57df86300852e4a28845c9-1.tiff": "65280 x 16 of noise that no other reader opens",
    "gofuzz__gif__99b5e9ae915d7bc61ba274129693571664e7b689-1.gif": "damaged behind its first frame, which Pillow shows so",
    "gofuzz__gif__f0b77c77d2e77924a475ab99413536b1403a56b7-2.gif": "damaged behind its first frame, which Pillow shows so",
    "image-rs__bmp__images__V3_A4_R4_G4_B4.bmp": "FFmpeg stretches 4 bits to 240, not to 255",
    "image-rs__bmp__images__pal2color.bmp": "2 bits a pixel, which no oracle reads",
    **dict.fromkeys(
        (
            *(
                "bmpsuite__q_rgb32-7187.bmp",
                "bmpsuite__q_rgba32-1010102.bmp",
                "image-rs__bmp__images__rgba32-61754.bmp",
            ),
            "pillow__bmp__q__rgb32-111110.bmp",
        ),
        "the suite's one picture with odd masks, which no oracle reads: test_bmps_of_one_suite_show_one_picture",
    ),
}
"""Kept files that no oracle can judge, looked at; HEIC, too, which none of them reads without its own plug-ins."""


def test_kept_nasty_files_are_what_other_readers_see(data: Path) -> None:
    """Every kept file equals, within one level on average, a decode by a library the project does not use."""
    av.logging.set_level(av.logging.PANIC)
    judged, wrong = 0, []
    for file in sorted((data / "nasty").iterdir()):
        content = file.read_bytes()
        try:
            picture = open_picture(content)
            ours = picture.pixels()
        except UndecodableImage:
            continue
        if picture.format == "HEIF" or file.name in BY_HAND:
            continue
        seen = {}
        for oracle in ORACLES:
            with contextlib.suppress(Exception):
                theirs = oracle(content)
                seen[oracle.__name__] = difference(ours, theirs) if theirs.shape == ours.shape else theirs.shape
            if isinstance(seen.get(oracle.__name__), float) and seen[oracle.__name__] <= 1:
                break
        else:
            wrong.append((file.name, picture.format, seen))
        judged += 1
    assert not wrong
    assert judged > 600


def test_bmps_of_one_suite_show_one_picture(data: Path) -> None:
    """Of every kind that has enough colours for it, those included that no other reader here opens."""
    plain = decode((data / "nasty" / "pillow__bmp__g__rgb24.bmp").read_bytes())
    odd = [name for name, why in BY_HAND.items() if "one picture" in why]
    for name in (*odd, "pillow__bmp__g__rgb16.bmp", "pillow__bmp__g__rgb16-565.bmp", "pillow__bmp__g__rgb32bf.bmp"):
        assert difference(plain, decode((data / "nasty" / name).read_bytes())) < 2.1, name


@pytest.mark.parametrize("folder", ["coco_val2017", "flickr8k", "kodak"])
def test_real_pictures_are_what_other_readers_see(data: Path, folder: str) -> None:
    """Photographs as they are, profiles and all."""
    for file in sorted((data / folder).glob("*.[jp]*g"))[:40]:
        content = file.read_bytes()
        assert difference(decode(content), by_libvips(content)) <= 1, file.name


def test_heic_is_read() -> None:
    """Through libheif, turned as its own boxes say."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for options in ({}, {"exif": exif}):
        data = saved(scene(), "HEIF", quality=95, **options)
        assert difference(by_ffmpeg(data)[:203, :301], decode(saved(scene(), "HEIF", quality=95))) < 3
        picture = open_picture(data)
        shown = picture.pixels()
        assert (picture.height, picture.width) == shown.shape[:2]


def test_nasty_files_need_little_memory(data: Path) -> None:
    """All of them in one process, the largest included: never more than 1 GB."""
    code = """
import sys
from pathlib import Path
from dalle.pictures.images import UndecodableImage, decode
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(file.read_bytes())
    except UndecodableImage:
        pass
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", code, str(data / "nasty")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_000_000


@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"]), st.data())
def test_damaged_bytes_raise_nothing_but_our_own(kind: str, data: st.DataObject) -> None:
    """Fuzzing: bytes changed, cut out and doubled anywhere in a good file."""
    content = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "double"])):
            case "set":
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 50))]
            case "double":
                content[at:at] = content[at : at + data.draw(st.integers(1, 50))]
        content = content or bytearray(b"x")
    with contextlib.suppress(UndecodableImage):
        pixels = decode(bytes(content), max_pixels=1_000_000)
        assert (3, np.uint8) == (pixels.shape[2], pixels.dtype)


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"RIFF",
            b"BM",
            b"II*\0",
            b"MM\0*",
            b"\0\0\0\x18ftypheic",
        ]
    ),
)
def test_any_bytes_raise_nothing_but_our_own(rest: bytes, start: bytes) -> None:
    """Fuzzing: anything, behind the first bytes of each format."""
    with contextlib.suppress(UndecodableImage):
        decode(start + rest, max_pixels=1_000_000)


SMALL = {
    kind: saved(Image.fromarray(SCENE[:40, :50]), kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
}
