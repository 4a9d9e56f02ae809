"""What comes with the package is there, small, as its card says, and good for what it is made for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import safetensors
import torch

from dalle.dvae.image_encoders import DVAEEncoder, load_encoder
from dalle.scenes import draw_flat
from dalle.scenes.dialect import compose_simple, write_simple
from dalle.shipped import Model, names, shipped
from dalle.text import tokenizer
from tests.conftest import ROOT

WEIGHTS = ROOT / "dalle" / "weights"
CARD = (WEIGHTS / "drawings" / "drawings.md").read_text()


def test_every_file_is_there_and_all_are_small() -> None:
    models: tuple[Model, ...] = ("vocabulary", "dvae")
    for model in models:
        assert names(model) == ["builtin", "drawings"]
        for name in names(model):
            path = shipped(name, model)
            assert isinstance(path, Path)
            assert path.stat().st_size > 0
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 96e6
    with safetensors.safe_open(WEIGHTS / "drawings" / "dvae.safetensors", "pt") as weights:
        assert {"F16"} == {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118


def test_a_path_of_the_users_is_not_theirs() -> None:
    assert shipped("./drawings", "dvae") is None
    assert shipped("", "dvae") is None


def test_the_card_is_of_these_files() -> None:
    assert load_encoder("drawings").fingerprint()[:16] in CARD
    assert tokenizer.load("drawings").fingerprint[:16] in CARD


def test_the_vocabulary_says_captions_in_few_tokens_that_come_back() -> None:
    words = tokenizer.load("drawings")
    for seed in range(500):
        for caption in write_simple(compose_simple(seed, 64), 2):
            tokens = words.encode(caption)
            assert len(tokens) <= 27
            assert words.decode(tokens) == caption.lower()


def test_drawings_come_back_by_the_dvae_better_than_by_that_of_photographs() -> None:
    """Of scenes that it was not trained on, with and without what is held out."""
    pictures = [draw_flat(compose_simple(10**9 + seed, 256).scene) for seed in range(16)]
    small = np.stack([cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA) for picture in pictures])
    pixels = torch.from_numpy(small).permute(0, 3, 1, 2)

    def decibel(name: str) -> torch.Tensor:
        dvae = load_encoder(name)
        assert isinstance(dvae, DVAEEncoder)
        codes = dvae.encode(pixels).flatten(1)
        assert codes.shape == (16, 256)
        return -10 * (dvae.decode(codes) - pixels / 255).square().mean((1, 2, 3)).log10()

    ours, others = decibel("drawings"), decibel("builtin")
    assert ours.min() > 28
    assert (ours > others + 4).all()
