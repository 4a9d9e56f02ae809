"""Numbers given to options: each is refused in a sentence before anything starts, or the work can be done with it."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from pipelines.stages.decode import PictureOptions
from pipelines.stages.encode_images import crops_of
from pipelines.stages.filter import FilterOptions, filter_captions, image_problem
from pipelines.vocab import VocabOptions
from pipelines.work.decoding import Decoding
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.ingest_options import IngestOptions
from schemas.shards import index_digits, sample_key, shard_name
from tests.dalle.pictures.files import SCENE, saved

WHOLE = (0, -1, 1, 2, 255, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**400)
BROKEN = (math.nan, math.inf, -math.inf, 1e-300, 0.5, 1e300)


def make_pictures(options: PictureOptions) -> None:
    """In a process with the limits that follow from them."""
    with Decoding[int](options, FilterOptions().thresholds()) as decoding:
        made = [*decoding.push(0, saved(SCENE, "JPEG")), *decoding.flush()]
    ((_, stored, _),) = made
    assert stored.problem is None or stored.problem.reason in ("too-many-pixels", "too-long"), stored.problem


def judge(options: FilterOptions) -> None:
    limits = options.thresholds()
    filter_captions(["a dog on a beach", ""], limits)
    for size in ((1, 1), (640, 480), (10**6, 1)):
        image_problem(*size, limits)


def name(options: IngestOptions) -> None:
    digits = index_digits(options.rows_per_shard)
    assert sample_key(shard_name(0, options.oom_shard_count), options.rows_per_shard - 1, digits).isdigit()
    assert digits <= 9
    assert options.processes_count <= 4096


def crop(options: EncodeOptions) -> None:
    pixels = np.zeros((256, 256, 3), np.uint8)
    crops = crops_of(pixels, "000000001", options.crops_per_image, options.seed)
    assert len(list(crops.views)) == options.crops_per_image
    assert options.batch_size <= 1 << 16


def sample(options: VocabOptions) -> None:
    np.random.default_rng(options.seed)
    assert 0 <= options.max_captions < 2**64


WORK: dict[type, Callable[[Any], None]] = {
    PictureOptions: make_pictures,
    FilterOptions: judge,
    IngestOptions: name,
    EncodeOptions: crop,
    VocabOptions: sample,
}


def numbers() -> list[tuple[type, str, tuple[float, ...]]]:
    """Every option that is a number, with values to try."""
    found = []
    for kind in WORK:
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            types = set(typing.get_args(hints[field.name])) or {hints[field.name]}
            if types & {int, float}:
                found.append((kind, field.name, (*WHOLE, *BROKEN) if float in types else WHOLE))
    return found


NUMBERS = numbers()


@pytest.mark.parametrize(("kind", "name", "values"), NUMBERS, ids=[f"{k.__name__}-{n}" for k, n, _ in NUMBERS])
def test_a_number_is_refused_or_works(kind: type, name: str, values: tuple[float, ...]) -> None:
    """Negative, nothing, beyond what 32 or 64 bits hold, no number at all."""
    refused = 0
    for value in values:
        try:
            options = kind(**{name: value})
        except ValueError as error:
            assert str(error).startswith(f"--{name} "), error
            assert "\n" not in str(error)
            refused += 1
        else:
            WORK[kind](options)
    assert refused >= 3, "negative ones, and those that nothing can hold"


@pytest.mark.parametrize("mode", ["center_crop", "no", "border", "keep_ratio", "keep_ratio_largest"])
@pytest.mark.parametrize("only", [True, False])
def test_sizes_are_refused_or_work_in_every_mode(mode: Any, only: bool) -> None:
    """The widest there may be as well; a size that is not stored may still be asked for."""
    for size in (1, 2, 65_500, 10**6, 10**6 + 1, 10**30):
        try:
            options = PictureOptions(image_size=size, resize_mode=mode, resize_only_if_bigger=only)
        except ValueError as error:
            assert f"--image_size {size}: " in str(error)
            continue
        if size in (1, 2) or only or mode == "no":
            make_pictures(options)


def test_there_are_many() -> None:
    """Found by their types."""
    assert {"max_pixels", "image_size", "encode_quality", "language_ratio", "seed"} <= {name for _, name, _ in NUMBERS}
    assert len(NUMBERS) >= 15
