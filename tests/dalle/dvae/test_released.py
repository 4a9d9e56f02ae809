"""Released networks are read without running their pickles; the PyPI package `DALL-E` 0.1 writes and judges them."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dalle.dvae.files import join, load_released
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import Decoder, Encoder
from dalle.dvae.released import read_state_dict
from tests.server import Web

dall_e = pytest.importorskip("dall_e", reason="the PyPI package DALL-E 0.1 is not installed", exc_type=ImportError)

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
SIZES = {"n_hid": 64, "n_blk_per_group": 1, "vocab_size": 512}


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    torch.manual_seed(0)
    return dall_e.Encoder(**SIZES)


@pytest.fixture(scope="module")
def decoder() -> nn.Module:
    torch.manual_seed(1)
    return dall_e.Decoder(n_init=32, **SIZES)


def saved(network: Any, path: Path, *, zipped: bool) -> str:
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    return str(path)


def a_picture() -> torch.Tensor:
    """[1, 3, 64, 64] in [0, 1], smooth."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


@LAYOUTS
def test_same_logits_codes_and_pictures(encoder: nn.Module, decoder: nn.Module, tmp_path: Path, zipped: bool) -> None:
    """As the release's own notebook encodes and decodes."""
    ours = join(
        load_released(saved(encoder, tmp_path / "encoder.pkl", zipped=zipped)),  # type: ignore[arg-type]
        load_released(saved(decoder, tmp_path / "decoder.pkl", zipped=zipped)),  # type: ignore[arg-type]
    )
    image = a_picture()
    with torch.no_grad():
        logits = encoder(dall_e.map_pixels(image))
        torch.testing.assert_close(ours.encoder(map_pixels(image)), logits)
        codes = logits.argmax(1)
        stats = decoder(F.one_hot(codes, 512).permute(0, 3, 1, 2).float())
        picture = dall_e.unmap_pixels(torch.sigmoid(stats[:, :3]))
        torch.testing.assert_close(ours.decoder.from_codes(codes), stats)
    assert torch.equal(codes, ours.encode(image))
    torch.testing.assert_close(ours.decode(codes), picture)


@LAYOUTS
@pytest.mark.parametrize("n_hid", [64, 96])
def test_any_width_and_every_tensor_bit_for_bit(tmp_path: Path, n_hid: int, zipped: bool) -> None:
    for network in (
        dall_e.Encoder(n_hid=n_hid, vocab_size=512),
        dall_e.Decoder(n_hid=n_hid, n_init=16, vocab_size=512),
    ):
        read = load_released(saved(network, tmp_path / "network.pkl", zipped=zipped))
        assert isinstance(read, Encoder if isinstance(network, dall_e.Encoder) else Decoder)
        assert list(network.state_dict()) == list(read.state_dict())
        assert all(torch.equal(value, read.state_dict()[name]) for name, value in network.state_dict().items())


def test_half_precision_and_shared_storages_are_read(decoder: nn.Module, tmp_path: Path) -> None:
    """Tensors that are parts of one storage, as after a flattening optimiser, and 16-bit numbers."""
    flat = torch.cat([p.detach().flatten() for p in decoder.parameters()]).half()
    whole = dall_e.Decoder(n_init=32, **SIZES).half()
    start = 0
    for p in whole.parameters():
        p.data = flat[start : start + p.numel()].view_as(p)
        start += p.numel()
    read = load_released(saved(whole, tmp_path / "network.pkl", zipped=True))
    for name, value in decoder.state_dict().items():
        assert torch.equal(value.half().float(), read.state_dict()[name])


def test_networks_come_from_addresses_too(encoder: nn.Module, web: Web) -> None:
    data = io.BytesIO()
    torch.save(encoder, data)
    (web.folder / "encoder.pkl").write_bytes(data.getvalue())
    read = load_released(web.url("encoder.pkl"))
    assert torch.equal(encoder.state_dict()["blocks.input.w"], read.state_dict()["blocks.input.w"])


class Evil:
    """Unpickled in the usual way, it leaves a file behind."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


@LAYOUTS
def test_a_pickle_with_a_side_effect_is_refused_before_it_happens(tmp_path: Path, zipped: bool) -> None:
    proof = tmp_path / "proof"
    for evil in (Evil(proof), [Evil(proof)], _hidden_in(dall_e.Encoder(**SIZES), Evil(proof))):
        path = saved(evil, tmp_path / "evil.pkl", zipped=zipped)
        with pytest.raises(ValueError, match=r"evil.pkl: its pickle asks for \w+.system, which no network needs"):
            load_released(path)
        assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the test's pickle does what it threatens"


def _hidden_in(network: nn.Module, evil: Evil) -> nn.Module:
    network.blocks.evil = evil  # type: ignore[assignment, union-attr]
    return network


GLOBALS = (
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    ("torchvision.io", "read_file"),
    ("copyreg", "_reconstructor"),
    ("numpy", "load"),
    ("collections", "Counter"),
)


@pytest.mark.parametrize(("module", "name"), GLOBALS, ids=lambda v: str(v))
def test_anything_but_tensors_in_modules_is_refused(tmp_path: Path, module: str, name: str) -> None:
    program = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"."
    with zipfile.ZipFile(tmp_path / "x.pkl", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(ValueError, match=f"asks for {module}.{name}"):
        load_released(str(tmp_path / "x.pkl"))


def test_functions_of_torch_are_boxes_too(tmp_path: Path) -> None:
    """A name in torch is never looked up, so none of its functions can be called."""
    program = b"\x80\x02ctorch.hub\nload\n(X\x01\x00\x00\x00atR."
    with zipfile.ZipFile(tmp_path / "x.pkl", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    assert read_state_dict(str(tmp_path / "x.pkl")) == {}


@LAYOUTS
def test_damaged_files_are_refused_in_a_sentence(encoder: nn.Module, tmp_path: Path, zipped: bool) -> None:
    whole = Path(saved(encoder, tmp_path / "whole.pkl", zipped=zipped)).read_bytes()
    rng = np.random.default_rng(0)
    for length in (0, 3, 40, 1000, len(whole) // 2, len(whole) - 20_000):
        (tmp_path / "cut.pkl").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut.pkl: "):
            load_released(str(tmp_path / "cut.pkl"))
    for _ in range(20):  # nothing but a ValueError, or a network, comes of random damage to the pickle
        damaged = bytearray(whole)
        damaged[int(rng.integers(3000))] ^= int(rng.integers(1, 256))
        (tmp_path / "damaged.pkl").write_bytes(damaged)
        try:
            load_released(str(tmp_path / "damaged.pkl"))
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "damaged.pkl"))


def test_what_is_no_dvae_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it holds a OrderedDict, expected a network"):
        load_released(saved(nn.Linear(2, 2).state_dict(), tmp_path / "state.pkl", zipped=True))
    with pytest.raises(ValueError, match=r"is not an encoder or decoder as released: 'blocks.input.w'"):
        load_released(saved(nn.Linear(2, 2), tmp_path / "linear.pkl", zipped=True))
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"its first number is not the one that torch.save writes"):
        load_released(str(tmp_path / "other.pkl"))


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(encoder: nn.Module, tmp_path: Path) -> None:
    """The sizes in a pickle are the writer's claim."""
    path = Path(saved(encoder, tmp_path / "network.pkl", zipped=True))
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    key = next(name for name in entries if name.endswith("/data/0"))
    entries[key] = entries[key][:-4]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"network.pkl: storage 0 has \d+ bytes, expected \d+"):
        load_released(str(path))
