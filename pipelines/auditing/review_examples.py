"""The second look of `pipelines.audit` at examples: a seeded sample is made again from its pairs and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dalle.dvae.image_encoders import load_encoder
from dalle.text import tokenizer
from dalle.training.one_thread import one_thread
from pipelines.auditing.encode_again import compare, contact_sheet, draw_sample
from pipelines.auditing.review_options import ReviewOptions, place_of, sheet_of
from pipelines.stages.encode_images import RESOLUTION, crops_of, encode_views
from schemas.folder import Folder
from schemas.manifest import fingerprint, made_from, read_manifest


def review(folder: Folder, manifest: Mapping[str, Any], options: ReviewOptions) -> Iterator[str]:
    """The faults found; writes the contact sheet where the encoder can decode.

    Raises:
        ValueError: if pairs, vocabulary or dVAE are not those that the examples were made of.
    """
    assert options.input_folder is not None
    made_with, pairs = manifest["options"], Folder(options.input_folder)
    _expect(fingerprint(read_manifest(pairs, table="pairs")), made_from(manifest), f"--input_folder {pairs}")
    words = tokenizer.load(options.vocabulary)
    _expect(words.fingerprint, made_with["vocabulary"], f"--vocabulary {options.vocabulary}")
    if made_with["device"] == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{folder}: was encoded on a GPU, and there is none here; audit it where one is")
    encoder = load_encoder(options.dvae, made_with["precision"], made_with["device"])
    _expect(encoder.fingerprint(), made_with["dvae"], f"--dvae {options.dvae}")
    resolution = made_with.get("resolution", RESOLUTION)
    originals, grids = [], []
    with one_thread():
        for drawn in draw_sample(folder, pairs, manifest["shards"], options.sample, options.seed):
            crops = crops_of(drawn.pixels, drawn.key, made_with["crops_per_image"], made_with["seed"], resolution)
            codes = np.stack(list(encode_views(crops.views, encoder, made_with["batch_size"])))
            yield from compare(drawn, words.encode_captions(drawn.captions)[0], codes)
            originals.append(crops.views[0])
            grids.append(drawn.codes[0])
        if originals and hasattr(encoder, "decode"):
            sheet = sheet_of(folder, options)
            above, name = place_of(sheet)
            above.write(name, contact_sheet(originals, grids, encoder))
            print(f"{sheet}: {len(originals)} pictures, each with its decoded codes on the right")


def _expect(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise ValueError(f"{what}: is {actual[:12]}, the examples were made with {expected[:12]}; give that one")
