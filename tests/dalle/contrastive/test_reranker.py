"""Contrastive models of open_clip through their one interface: the library's own numbers, for any company, and errors."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from PIL import Image

from dalle import contrastive
from dalle.contrastive.reranker import PICTURES, Reranker
from dalle.pictures import drawn_textures
from dalle.training.open_clip_file import _check_activation
from dalle.training.precision import has_fast_bfloat16

VISION = {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "quick": {"quick_gelu": True},
    "tanh": {"vision_cfg": {**VISION, "act_kwargs": {"approximate": "tanh"}}},
    "custom": {"custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True}},
    "oblong": {"vision_cfg": {**VISION, "image_size": [48, 80], "pool_type": "avg", "no_ln_pre": True}},
    "resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}},
    "scaled": {"vision_cfg": {**VISION, "ls_init_value": 0.5, "patch_dropout": 0.5}},
}
"""Towers that can be packed and towers that cannot."""
PACKED = {"plain", "quick", "tanh", "custom", "oblong"}
ALONE = {"roberta-ViT-B-32"}
"""Where what open_clip notes of the only form of a model contradicts itself."""
CAPTIONS = ["a red boat", "two dogs on a hill, " * 9, "Ein Haus & ein Baum!"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of a small model of each kind, saved as anybody would save them."""
    folder, files = tmp_path_factory.mktemp("clip"), {}
    for kind, changes in KINDS.items():
        settings = {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT, **changes}
        (folder / f"test-{kind}.json").write_text(json.dumps(settings))
        open_clip.add_model_config(folder / f"test-{kind}.json")
        torch.manual_seed(0)
        files[kind] = folder / f"{kind}.pt"
        torch.save(open_clip.create_model(f"test-{kind}").state_dict(), files[kind])
    return files


def load(files: dict[str, Path], kind: str, precision: Any) -> Reranker:
    return contrastive.load(f"open_clip:test-{kind}/{files[kind]}", precision)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Drawn pictures of different shapes, more than a batch."""
    squares = [drawn_textures.leaves(96, np.random.default_rng(index)) for index in range(PICTURES + 5)]
    return [square[: 96 - 2 * index, : 60 + index] for index, square in enumerate(squares)]


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_open_clip(kind: str, files: dict[str, Path], pictures: list[np.ndarray]) -> None:
    """The library used directly, in evaluation mode: within 1e-4 in float32, and close in bfloat16."""
    model, _, transform = open_clip.create_model_and_transforms(f"test-{kind}", pretrained=str(files[kind]))
    inputs = torch.stack([transform(Image.fromarray(pixels)) for pixels in pictures])
    with torch.inference_mode():
        of_pictures = model.eval().encode_image(inputs, normalize=True).numpy()
        of_captions = model.encode_text(open_clip.get_tokenizer(f"test-{kind}")(CAPTIONS), normalize=True).numpy()
    full, short = load(files, kind, "float32"), load(files, kind, "bfloat16")
    assert all(torch.equal(full.prepare(pixels), each) for pixels, each in zip(pictures, inputs, strict=True))
    assert np.abs(full.embed_pictures(pictures) - of_pictures).max() < 1e-4
    assert np.abs(full.embed_captions(CAPTIONS) - of_captions).max() < 1e-4
    assert np.abs(full.scores(CAPTIONS[0], pictures) - of_pictures @ of_captions[0]).max() < 1e-4
    assert (short.embed_pictures(pictures) * of_pictures).sum(1).min() > 0.999
    assert (short.embed_captions(CAPTIONS) * of_captions).sum(1).min() > 0.999
    assert (48, 48) == (full.dimension, short.dimension)
    assert full.fingerprint.removesuffix("-float32") == short.fingerprint.removesuffix("-bfloat16")
    if has_fast_bfloat16():
        assert (kind in PACKED) == (not short._autocast)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["plain", "resnet"])
def test_a_score_does_not_depend_on_company(
    kind: str, precision: str, files: dict[str, Path], pictures: list[np.ndarray]
) -> None:
    """The same bits alone, backwards, in the second batch, from a generator, and for any number of threads."""
    reranker = load(files, kind, precision)
    scores, before = reranker.scores("a red boat", pictures), torch.get_num_threads()
    assert scores.dtype == np.float32
    assert scores.shape == (len(pictures),)
    assert np.abs(scores).max() <= 1
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert np.array_equal(scores[::-1], reranker.scores("a red boat", pictures[::-1]))
            assert np.array_equal(scores[3:4], reranker.scores("a red boat", pictures[3:4]))
            assert np.array_equal(scores, reranker.scores("a red boat", iter(pictures[:2] * 20 + pictures))[40:])
            assert threads == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (0,) == reranker.scores("a red boat", []).shape
    captions = [f"caption {n}" for n in range(40)]
    vectors = reranker.embed_captions(captions)
    assert np.array_equal(vectors[17:18], reranker.embed_captions(captions[17:18]))
    assert (0, 48) == reranker.embed_captions([]).shape


# What is said


def test_what_cannot_be_scored_is_named(files: dict[str, Path], pictures: list[np.ndarray]) -> None:
    """A caption without tokens, arrays that are no pictures: which, what was found, what was expected."""
    reranker = load(files, "plain", "float32")
    for empty in ("", "  \t", "\n"):
        with pytest.raises(ValueError, match=r"^caption 1 of 2: .* has no tokens, expected words; leave it out$"):
            reranker.embed_captions(["a dog", empty])
        with pytest.raises(ValueError, match="has no tokens"):
            reranker.scores(empty, pictures)
    for wrong, found in (
        (np.zeros((3, 8, 8), np.uint8), r"uint8 of \[3, 8, 8\]"),
        (np.zeros((8, 8, 3), np.float32), r"float32 of \[8, 8, 3\]"),
        (np.zeros((8, 8), np.uint8), r"uint8 of \[8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), "8 x 0"),
        ("a.jpg", "str"),
    ):
        with pytest.raises(ValueError, match=rf"^picture 1: is {found}, expected"):
            reranker.embed_pictures([pictures[0], wrong])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-B-33/x", "open_clip has no model 'ViT-B-33'"),
        ("open_clip:ViT-B-32//no/such/clip.pt", "'/no/such/clip.pt' is neither a file of weights nor one of open_clip's"),
        ("open_clip:ViT-B-32", "'nothing' is neither a file of weights"),
        ("open_clip:ViT-B-32//dev/null", "/dev/null: is a device, expected a file"),
        ("no/such/model.safetensors", "there is no such contrastive model; expected open_clip:MODEL"),
        ("", "nothing: there is no such contrastive model"),
        ("open_clip:ViT-B-32/openai", "were trained with QuickGELU, .* name ViT-B-32-quickgelu"),
        ("open_clip:ViT-B-32-quickgelu/laion2b_s34b_b79k", "is neither a file of weights nor one of open_clip's for ViT-B-32-q"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_had_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        contrastive.load(name)
    assert "\n" not in str(caught.value)


class Harmful:
    """A pickle that runs a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("what", ["html", "another network", "nan", "pickle", "list", "empty", "safetensors", "folder"])
def test_weights_that_cannot_be_used_are_one_sentence(what: str, files: dict[str, Path], tmp_path: Path) -> None:
    """Nothing in a file is executed."""
    path = tmp_path / ("model.safetensors" if what == "safetensors" else "weights.pt")
    weights = torch.load(files["plain"], weights_only=True)
    match what:
        case "html" | "safetensors":
            path.write_bytes(b"<html>404</html>")
        case "another network":
            path.write_bytes(files["custom"].read_bytes())
        case "nan":
            weights["visual.proj"][3, 4] = torch.nan
            torch.save(weights, path)
        case "pickle":
            path.write_bytes(pickle.dumps(Harmful(tmp_path / "trace")))
        case "list" | "empty":
            torch.save([1, 2] if what == "list" else {}, path)
        case _:
            path.mkdir()
    expected = {"nan": "1 of its .* tensors hold NaN or infinity, the first is visual.proj", "folder": "is a folder"}
    with pytest.raises(ValueError, match=expected.get(what, "the weights could not be loaded")) as caught:
        contrastive.load(f"open_clip:test-plain/{path}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


def test_every_tag_is_for_one_activation(files: dict[str, Path]) -> None:
    """Of all models and tags: refused is what open_clip only warns of, and what is named instead is taken."""
    refused = 0
    for model, tag in open_clip.list_pretrained():
        quick = bool(open_clip.get_model_config(model).get("quick_gelu", False))
        expected = bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False))
        try:
            _check_activation("it", model, tag)
            assert quick == expected or model in ALONE, model
        except ValueError as error:
            refused += 1
            assert quick != expected
            named = re.findall(r"name (\S+)$", str(error))
            assert named[0] in open_clip.list_models()
            _check_activation("it", named[0], tag)
    assert refused > 10
    remark = _check_activation("open_clip:ViT-B-32/clip.pt", "ViT-B-32", str(files["plain"]))
    assert "weights that were trained with QuickGELU, as OpenAI's were, need ViT-B-32-quickgelu" in remark


def test_weights_may_be_a_safetensors_file(files: dict[str, Path], tmp_path: Path) -> None:
    """The same weights have the same fingerprint, whatever the file."""
    weights = torch.load(files["plain"], weights_only=True)
    safetensors.torch.save_file(weights, tmp_path / "clip.safetensors")
    other = contrastive.load(f"open_clip:test-plain/{tmp_path / 'clip.safetensors'}", "float32")
    assert load(files, "plain", "float32").fingerprint == other.fingerprint
    assert re.fullmatch(r"open_clip-test-plain-[0-9a-f]{16}-float32", other.fingerprint)
