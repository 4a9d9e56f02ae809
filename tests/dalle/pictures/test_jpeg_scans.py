"""Bytes that mean nothing before a JPEG's markers, and files in several scans."""

from __future__ import annotations

import functools
import random

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dalle.pictures.apart import decode_apart
from dalle.pictures.faults import UndecodableImage, fault
from dalle.pictures.formats.jpeg_extraneous import _markers, without_extraneous
from dalle.pictures.images import decode, open_picture
from tests.dalle.pictures.files import saved
from tests.dalle.pictures.measuring import decoded, in_a_new_process

RESTARTS = {"restart_marker_blocks": 1}, {"restart_marker_blocks": 5}, {"restart_marker_rows": 1}
JUNK = st.one_of(
    st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\xff", b"\xff\0")),
    st.sampled_from([b"\0\0\0\0", b"\xff\0" * 9, b"\xff\xff", b"\0" * 1000]),
)


@functools.cache
def smooth() -> np.ndarray:
    """[70, 130, 3] uint8."""
    noise = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(noise, (130, 70), interpolation=cv2.INTER_CUBIC)


@functools.cache
def written(mode: str, way: int, subsampling: int = 2) -> bytes:
    sampling = {} if mode == "L" else {"subsampling": subsampling}
    return saved(Image.fromarray(smooth()).convert(mode), "JPEG", quality=92, **RESTARTS[way], **sampling)


def starts(data: bytes) -> list[int]:
    """Where the markers behind the first scan's header are."""
    return [marker.start for marker in _markers(data)]


def outcome(data: bytes) -> np.ndarray | str:
    try:
        return decode(data)
    except UndecodableImage as error:
        assert error.reason in ("truncated", "corrupt")
        return "refused"


MODES = st.sampled_from([("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0), ("CMYK", 0)])


@given(MODES, st.integers(0, 2), JUNK, st.data())
def test_junk_before_restart_markers_alone_is_no_damage(
    mode: tuple[str, int], way: int, junk: bytes, data: st.DataObject
) -> None:
    """Before any of them, some or all: the same pixels."""
    whole = written(mode[0], way, mode[1])
    places = starts(whole)
    chosen = data.draw(st.one_of(st.just(set(places)), st.sets(st.sampled_from(places), min_size=1)))
    filled = whole
    for place in sorted(chosen, reverse=True):
        filled = filled[:place] + junk + filled[place:]
    assert np.abs(decode(whole).astype(int) - decode(filled)).max() <= 1
    assert np.abs(open_picture(whole).pixels(20).astype(int) - open_picture(filled).pixels(20)).max() <= 1


@given(MODES, st.integers(0, 2), JUNK, st.integers(0, 2**32))
def test_damage_is_refused_with_junk_if_it_is_without(mode: tuple[str, int], way: int, junk: bytes, seed: int) -> None:
    """Cut, overwritten, intervals lost, doubled or exchanged, anywhere but in the interval that has the junk."""
    whole = written(mode[0], way, mode[1])
    rng = random.Random(seed)
    markers = starts(whole)
    place = rng.randrange(len(markers) - 1)
    head, tail = whole[: markers[place]], bytearray(whole[markers[place] :])
    gaps = [start - markers[place] for start in markers[place:]]
    match rng.randrange(5):
        case 0:
            tail[rng.randrange(2, len(tail) - 2) :] = b"\xff\xd9"
        case 1:
            for _ in range(rng.choice((1, 20))):
                tail[rng.randrange(2, len(tail) - 2)] = rng.randrange(255)
        case 2:
            first, last = sorted((rng.choice(gaps), rng.choice(gaps)))
            del tail[first:last]
        case 3:
            first, last = sorted((rng.choice(gaps), rng.choice(gaps)))
            tail[first:first] = tail[first:last]
        case _:
            at = rng.choice(gaps)
            tail[at + 1] = rng.choice((0xD0, 0xD5, 0xD9, 0xDA, 0xC4))
    plain, filled = outcome(head + tail), outcome(head + junk + tail)
    assert isinstance(plain, str) == isinstance(filled, str)
    if not isinstance(plain, str):
        assert np.abs(plain.astype(int) - filled).max() <= 1


def test_no_truncated_file_is_filled_with_grey() -> None:
    """Cut at every place, junk before the first restart marker, and an end put there."""
    whole = written("RGB", 1)
    first, *_, end = starts(whole)
    for cut in range(first + 2, end - 3, 7):
        assert "refused" == outcome(whole[:first] + bytes(4) + whole[first:cut] + b"\xff\xd9"), cut


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_junk_between_the_scans_of_a_progressive_file(mode: str) -> None:
    """Before any marker or all: the same pixels; and cut behind it, refused."""
    whole = saved(Image.fromarray(smooth()).convert(mode), "JPEG", quality=92, progressive=True)
    pixels, markers = decode(whole), starts(whole)
    everywhere = whole
    for place in reversed(markers):
        filled = whole[:place] + b"abcdefghijkl" + whole[place:]
        everywhere = everywhere[:place] + b"abcdefghijkl" + everywhere[place:]
        assert np.abs(pixels.astype(int) - decode(filled)).max() <= 1
        if place < markers[-2]:
            assert "refused" == outcome(filled[: (markers[-2] + markers[-1]) // 2] + b"\xff\xd9")
    assert np.abs(pixels.astype(int) - decode(everywhere)).max() <= 1


def in_several_scans(width: int, height: int, *, together: int = 1) -> bytes:
    """A baseline picture of one colour, whose channels lie in scans of their own, or the first ones together."""
    whole = saved(Image.new("RGB", (8, 8)), "JPEG", subsampling=0)
    frame, scan = whole.index(b"\xff\xc0"), whole.index(b"\xff\xda")
    head = bytearray(whole[:scan])
    head[frame + 5 : frame + 9] = height.to_bytes(2) + width.to_bytes(2)
    blocks = -(-width // 8) * -(-height // 8)
    out, codes = bytes(head), {1: "001010", 2: "0000", 3: "0000"}
    for channels in ([*range(1, together + 1)], *([channel] for channel in range(together + 1, 4))):
        bits = "".join(codes[channel] for channel in channels)
        packed = int(bits * 8, 2).to_bytes(len(bits))
        size = -(-blocks * len(bits) // 8)
        spec = b"".join(bytes([channel, 0 if channel == 1 else 0x11]) for channel in channels)
        header = bytes([len(channels)]) + spec + b"\0\x3f\0"
        out += b"\xff\xda" + (len(header) + 2).to_bytes(2) + header + (packed * (size // len(packed) + 1))[:size]
    return out + b"\xff\xd9"


@pytest.mark.parametrize("together", [1, 2])
def test_files_in_several_scans_take_what_their_header_told(together: int) -> None:
    """Baseline or not, libjpeg holds all coefficients until it has read the last of them."""
    data = in_several_scans(2400, 1500, together=together)
    assert (1500, 2400, 3) == decode(data).shape
    answer = in_a_new_process(decoded, data, 1 << 30)
    took, told, why = answer.value
    assert ("", True) == (why, took <= told + (2 << 20))
    assert took > 6 * 2400 * 1500
    assert open_picture(in_several_scans(2400, 1500, together=3)).memory() < took, "all in one scan"


def test_large_files_in_several_scans_are_refused_by_their_header() -> None:
    """As a large progressive one is, before a pixel is decoded."""
    ((_, answer),) = decode_apart([(0, in_several_scans(9500, 9500))])
    assert isinstance(answer, UndecodableImage)
    assert "decoder-memory" == answer.reason
    assert "9500 x 9500 as JPEG would take" in str(answer)


@pytest.mark.parametrize(
    "words", ["Insufficient memory (case 4)", "out of memory", "Out of memory", "Memory allocation error", "Cannot allocate memory"]
)  # fmt: skip
def test_memory_that_a_decoder_does_not_get_is_no_damage(words: str) -> None:
    """Whatever it calls it."""
    assert isinstance(fault(words), MemoryError)
    assert not isinstance(fault("Corrupt JPEG data: bad Huffman code"), MemoryError)


def test_what_junk_between_scans_costs_is_bounded() -> None:
    """At a thousand places of a progressive file, each of which looks like the next: decoded a thousand times at most."""
    image = Image.fromarray(cv2.resize(smooth(), (600, 400)))
    whole = saved(image, "JPEG", quality=50, progressive=True, restart_marker_blocks=9)
    filled = whole
    for place in reversed(starts(whole)):
        filled = filled[:place] + bytes(12) + filled[place:]
    asked = 0

    def strictly(data: bytes) -> np.ndarray:
        nonlocal asked
        asked += 1
        return simplejpeg.decode_jpeg(data)

    with pytest.raises(ValueError, match="extraneous") as caught:
        strictly(filled)
    with pytest.raises(ValueError, match="Corrupt JPEG"):
        without_extraneous(filled, caught.value, strictly, 600 * 400)
    assert 1 < asked <= 200_000_000 // (600 * 400)
