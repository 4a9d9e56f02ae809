"""Weights that come from anywhere: whole, of the right shapes, numbers, or refused in a sentence that names the file.

The law is over every kind of file a model is read from, and every place of what says what it is.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from dalle import dvae, prior
from dalle.contrastive import load as load_contrastive
from dalle.contrastive import network as contrastive_network
from dalle.contrastive.config import ContrastiveConfig
from dalle.detectors.builtin import Builtin
from dalle.detectors.network import Detector, DetectorConfig
from dalle.detectors.network import load as load_detector_network
from dalle.detectors.torchscript import TorchScript
from dalle.dvae.image_encoders import load_encoder
from dalle.text import tokenizer
from dalle.training import checkpoint
from dalle.training.model_file import fault_of_numbers
from tests.tampering import tampered

SMALL = dvae.DVAEConfig(vocab_size=8, encoder_n_hid=4, decoder_n_hid=4, n_init=4, n_blk_per_group=1)
SMALL_DETECTOR = DetectorConfig(side=32, widths=(8, 16), depths=(1, 1), neck=8, dimension=4)
SMALL_PRIOR = prior.PriorConfig(
    vocab_size=9, image_vocab_size=7, text_length=3, codes=4, layers=2, heads=1, head_size=4
)
WORDS = tokenizer.train(["a red boat"] * 2, vocab_size=256)
SMALL_CONTRASTIVE = ContrastiveConfig(
    dimension=4, image_size=8, patch_size=4, image_layers=1, image_width=8, image_heads=2,
    text_layers=1, text_width=4, text_heads=1, text_length=3, vocab_size=257,
)  # fmt: skip
KINDS: dict[str, tuple[Callable[[Path], object], nn.Module, Any]] = {
    "dvae": (dvae.load, dvae.DVAE(SMALL), SMALL),
    "detector": (load_detector_network, Detector(SMALL_DETECTOR), SMALL_DETECTOR),
    "prior": (prior.load, prior.Prior(SMALL_PRIOR), SMALL_PRIOR),
    "contrastive": (
        lambda path: contrastive_network.load(path)[0],
        contrastive_network.make(SMALL_CONTRASTIVE),
        SMALL_CONTRASTIVE,
    ),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    path.write_bytes(safetensors.torch.save({name: value.half().contiguous() if value.is_floating_point() else value for name, value in tensors.items()}, metadata))  # fmt: skip


def metadata_of(kind: str, sizes: object) -> dict[str, str]:
    """Of a file of this kind: a prior's sizes stand among other things."""
    if kind == "prior":
        return {"model": json.dumps({"config": sizes, "dvae": "d" * 64})}
    if kind == "contrastive":
        return {"model": json.dumps({"config": sizes, "tokenizer": WORDS.content.decode()})}
    return {"config": json.dumps(sizes)}


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The sentence, which names the file; nothing if it was read. It comes at once."""
    said: list[str] = []

    def try_it() -> None:
        try:
            read(path)
            said.append("")
        except ValueError as error:
            said.append(str(error))

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(20)
    assert said, "it waits, or raised something else"
    assert not said[0] or (str(path) in said[0] and 1 == len(said[0].splitlines())), said
    return said[0]


@each_kind
def test_what_was_saved_is_read(kind: str, tmp_path: Path) -> None:
    """To half precision."""
    read, network, config = KINDS[kind]
    write(tmp_path / "a", network.state_dict(), metadata_of(kind, asdict(config)))
    again = read(tmp_path / "a")
    assert isinstance(again, nn.Module)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float(), rtol=0, atol=0)


@each_kind
def test_every_place_of_the_sizes(kind: str, tmp_path: Path) -> None:
    """Another type, another number, missing, one too many, not JSON: a sentence, or a network that fits."""
    read, network, config = KINDS[kind]
    refused = 0
    own = json.loads(json.dumps(asdict(config)))
    for what, value in tampered(own):
        if isinstance(value, dict) and {"patches": 0, **value} == {"patches": 0, **own}:
            continue  # which files from before there were patch networks leave out
        write(tmp_path / "a", network.state_dict(), metadata_of(kind, value))
        said = refusal(read, tmp_path / "a")
        assert said or kind in ("detector", "contrastive"), what  # sides of pictures and heads are no tensor's
        refused += bool(said)
    assert refused > 100
    for metadata in (
        None,
        {"other": "{}"},
        {"config": ""},
        {"config": "[" * 100_000},
        {"config": "{}"},
        {"config": "9"},
        {"model": ""},
        {"model": "[" * 100_000},
        {"model": "{}"},
        {"model": "9"},
    ):
        write(tmp_path / "a", network.state_dict(), metadata)
        assert f"{tmp_path / 'a'}: is not a " in refusal(read, tmp_path / "a")


@each_kind
def test_tensors(kind: str, tmp_path: Path) -> None:
    """A dozen of them: missing, of another shape or type, with one NaN or infinity; and one too many."""
    read, network, config = KINDS[kind]
    metadata = metadata_of(kind, asdict(config))
    whole = {name: value.clone() for name, value in network.state_dict().items()}
    for name, value in [*whole.items()][:: max(len(whole) // 12, 1)]:
        spoilt = value.clone()
        spoilt.view(-1)[-1] = float("nan")
        for changed, words in (
            ({n: v for n, v in whole.items() if n != name}, f"has no weights {name}"),
            ({**whole, name: value[None]}, f"its weights {name} are "),
            ({**whole, name: spoilt}, f"1 of its {len(whole)} tensors hold NaN or infinity, the first is {name}"),
            ({**whole, name: torch.full_like(value, 1e30)}, "hold NaN or infinity"),
            ({**whole, name: value.to(torch.int32)}, f"its weights {name} are int32"),
        ):
            write(tmp_path / "a", changed, metadata)
            assert words in refusal(read, tmp_path / "a")
    write(tmp_path / "a", {**whole, "a\x1b[2J": torch.ones(1)}, metadata)
    assert "which the network has not" in refusal(read, tmp_path / "a")


READERS: dict[str, Callable[[Path], object]] = {
    "dvae": dvae.load,
    "dvae by name": lambda path: load_encoder(str(path)),
    "released": lambda path: dvae.load_released(str(path)),
    "prior": prior.load,
    "contrastive": lambda path: load_contrastive(str(path)),
    "detector": load_detector_network,
    "builtin detector": Builtin,
    "torchscript": lambda path: TorchScript(str(path)),
    "vocabulary": tokenizer.load,
    "checkpoint": checkpoint.load,
    "outline": checkpoint.outline,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_of_weights(reader: str, tmp_path: Path) -> None:
    """A pipe, a device, a folder, nothing in it, noise, text, half of one: a sentence at once."""
    read, path = READERS[reader], tmp_path / "weights.json"
    os.mkfifo(path)
    assert refusal(read, path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refusal(read, path)
    path.unlink()
    path.mkdir()
    if reader not in ("dvae by name",):  # which takes folders
        assert refusal(read, path)
    path.rmdir()
    half = safetensors.torch.save({"a": torch.ones(99)}, {"config": "{}", "tree": "{}"})[:-50]
    for content in (
        b"",
        b"<html>404</html>",
        os.urandom(1000),
        b"\xff" * 1000,
        (10**15).to_bytes(8, "little") + b"{}",
        half,
    ):
        path.write_bytes(content)
        assert refusal(read, path)


def test_checkpoints(tmp_path: Path) -> None:
    """Every place of the tree in the header: a sentence, or another tree."""
    path = checkpoint.save(tmp_path, 3, {"step": 3, "run": {"w": torch.ones(2), "o": [1, None, {"a": 2.0}]}})
    with safetensors.safe_open(path, "pt") as file:
        tree = json.loads(file.metadata()["tree"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    refused = 0
    for _, value in tampered(tree):
        path.write_bytes(safetensors.torch.save(tensors, {"tree": json.dumps(value)}))
        refused += bool(refusal(checkpoint.load, path)) + bool(refusal(checkpoint.outline, path))
    assert refused > 100
    path.write_bytes(safetensors.torch.save({"/run/w": torch.tensor([float("nan")])}, {"tree": json.dumps(tree)}))
    assert "/run/w holds NaN or infinity" in refusal(checkpoint.load, path)


def test_vocabularies(tmp_path: Path) -> None:
    """Tokens that no network has a place for, and bytes without a token, are told."""
    path = tmp_path / "vocabulary.json"
    learnt = json.loads(tokenizer.train(["a red boat", "a red ball"] * 2, vocab_size=260).content)
    for change, words in (
        (lambda entries: entries.update({"a": 1000}), "are not numbered from 0 to 259, each once"),
        (lambda entries: entries.update({"a": 5}), "are not numbered from 0 to 259, each once"),
    ):
        value = json.loads(json.dumps(learnt))
        change(value["model"]["vocab"])
        path.write_text(json.dumps(value))
        assert words in refusal(tokenizer.load, path)
    value = json.loads(json.dumps(learnt))
    value["model"]["merges"] = []
    value["model"]["vocab"] = {"only": 0}
    path.write_text(json.dumps(value))
    assert "256 of the 256 bytes are not among its entries" in refusal(tokenizer.load, path)


def test_numbers() -> None:
    """Only floating point numbers, all of them finite."""
    assert not fault_of_numbers({"a": torch.ones(3), "b": torch.zeros(0)})
    assert "int64" in fault_of_numbers({"a": torch.arange(3)})
    assert "1 of its 2 tensors" in fault_of_numbers({"a": torch.ones(3), "b": torch.tensor(float("-inf"))})
