"""From the options of `pipelines.encode` to its work, its units and what decides the bytes of its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dalle.dvae.image_encoders import ImageEncoder, default_device, fastest_precision, load_encoder
from dalle.text import tokenizer
from dalle.training.one_thread import one_thread
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from pipelines.stages.encode_images import CROP_POLICY, RESOLUTION
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.encoding import Encode
from schemas.folder import Folder
from schemas.manifest import Counts, fingerprint, lineage_from, versions

_MAKE_THE_BYTES = ("numpy", "opencv-python-headless", "pillow", "pyarrow", "simplejpeg", "tokenizers", "torch")
_AT_ONCE = {"cpu": 4, "cuda": 64}


def work_of(pairs: Folder, options: EncodeOptions) -> Encode:
    """What is done to a shard of pairs, with vocabulary and encoder loaded.

    Raises:
        ValueError: if there is no GPU where one is wanted, or vocabulary or dVAE cannot be loaded.
    """
    words = tokenizer.load(options.vocabulary)
    device = default_device() if options.device == "auto" else options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here; use --device cpu")
    precision = fastest_precision(device) if options.precision == "auto" else options.precision
    encoder = load_encoder(options.dvae, precision, device)
    return Encode(
        pairs=pairs,
        tokenizer=words,
        dvae=options.dvae,
        precision=precision,
        device=device,
        batch_size=options.batch_size or _AT_ONCE[device],
        crops_per_image=options.crops_per_image,
        seed=options.seed,
        resolution=options.resolution,
        codes=_codes_of(encoder, options.resolution),
        with_encoding=options.with_encoding,
        output_format=options.output_format,
        image_vocab_size=int(getattr(encoder, "vocab_size", 1 << 16)),
        fingerprint=encoder.fingerprint(),
    )


def recipe_of(parent: Mapping[str, Any], work: Encode) -> Recipe:
    """What decides the bytes of the examples, given the manifest of the pairs."""
    return Recipe(
        job="encode",
        table="examples",
        inputs=[{"name": "manifest.json", "sha256": fingerprint(parent)}],
        cut={},
        options={
            "vocabulary": work.tokenizer.fingerprint,
            "vocab_size": work.tokenizer.vocab_size,
            "dvae": work.fingerprint,
            "codes": work.codes,
            "image_vocab_size": work.image_vocab_size,
            "precision": work.precision,
            "device": work.device,
            "batch_size": work.batch_size,
            "crop_policy": CROP_POLICY,
            "crops_per_image": work.crops_per_image,
            "seed": work.seed if work.crops_per_image > 1 else 0,  # the centre crop draws nothing
            **({} if work.resolution == RESOLUTION else {"resolution": work.resolution}),
            "with_encoding": work.with_encoding,
            "output_format": work.output_format,
        },
        versions=versions(*_MAKE_THE_BYTES),
        lineage=lineage_from(parent),
    )


def units_of(recipe: Recipe, parent: Mapping[str, Any]) -> tuple[Unit, ...]:
    """One for each shard of the pairs, which keeps its number."""
    files = [fingerprint(shard["files"]) for shard in parent["shards"]]
    units = [
        Unit(shard=shard["name"], rows=Counts.of_json(shard["counts"]).rows, source=shard["name"], reads=reads)
        for shard, reads in zip(parent["shards"], files, strict=True)
    ]
    return recipe.units(units, files)


def _codes_of(encoder: ImageEncoder, resolution: int) -> int:
    with one_thread():
        return encoder.encode(torch.zeros(1, 3, resolution, resolution, dtype=torch.uint8)).numel()
