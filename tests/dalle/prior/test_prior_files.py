"""A prior on disk is the prior again; what is none is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dalle import prior
from dalle.prior.files import made_for

CONFIG = prior.PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=2, heads=2, head_size=8)
FOR = {"vocabulary": "a" * 64, "dvae": "b" * 64}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    prior.save(prior.Prior(CONFIG), tmp_path / "prior.safetensors", FOR)
    return tmp_path / "prior.safetensors"


def test_what_is_saved_is_loaded(path: Path) -> None:
    """Sizes, weights to the bit, what they are made for; the same bytes each time."""
    again = prior.load(path)
    torch.manual_seed(0)
    before = prior.Prior(CONFIG)
    assert CONFIG == again.config
    assert not again.training
    assert before.state_dict().keys() == again.state_dict().keys()
    for name, value in before.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert FOR == made_for(path)
    first = path.read_bytes()
    prior.save(again, path, FOR)
    assert first == path.read_bytes()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "has no model in its metadata"),
        ({"model": "{"}, "the model in its metadata is not JSON"),
        ({"model": "[]"}, "the config in its metadata is not an object"),
        ({"model": json.dumps({"config": 3})}, "the config in its metadata is not an object"),
        ({"model": json.dumps({"config": {"layers": 2}})}, "vocab_size is missing"),
        ({"config": "{}"}, "has no model in its metadata"),
        ({"layers": 3}, r"its sizes are those of|has no weights layers\\.2\\."),
        ({"layers": 2**20}, "its sizes are those of 2,097,152 blocks, and it has"),
        ({"codes": 17}, "codes is 17, expected a square number"),
        ({"heads": 3}, "its weights .* are .*, expected"),
        ({"heads": 2**20, "head_size": 2**20}, "is not a prior"),
        ({"text_length": 0}, "text_length is 0, expected 1 to 1,048,576"),
    ],
)
def test_what_is_no_prior_is_refused(path: Path, entry: dict, message: str) -> None:
    """One sentence that names the file and what was found in it."""
    tensors = safetensors.torch.load_file(path)
    if any(isinstance(value, int) for value in entry.values()):
        sizes = {**json.loads(json.dumps(CONFIG.__dict__)), **entry}
        entry = {"model": json.dumps({"config": sizes, **FOR})}
    path.write_bytes(safetensors.torch.save(tensors, entry))
    with pytest.raises(ValueError, match=message.replace("\\\\", "\\")) as raised:
        prior.load(path)
    assert str(raised.value).startswith(f"{path}: is not a prior that dalle.train_prior wrote (")


def test_weights_that_are_no_numbers_are_refused(path: Path) -> None:
    tensors = safetensors.torch.load_file(path)
    tensors["norm.weight"][0] = torch.nan
    path.write_bytes(safetensors.torch.save(tensors, {"model": json.dumps({"config": CONFIG.__dict__})}))
    with pytest.raises(ValueError, match=r"hold NaN or infinity, the first is norm\.weight"):
        prior.load(path)
