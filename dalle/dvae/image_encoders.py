"""What turns pictures into codes, by name: a dVAE, or a user's own encoder behind two methods.

builtin            the small dVAE that comes with the package (the default)
drawings           that of simple drawn scenes, which comes with the package as well
openai             the released one, 97.6 million weights, downloaded once
PATH               what `dalle.train_dvae` left, a folder or its file, or a folder with encoder.pkl and decoder.pkl
MODULE:FUNCTION    a function of yours, without arguments, that gives an `ImageEncoder`
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dalle.dvae.bf16 import BF16DVAE
from dalle.dvae.download import download
from dalle.dvae.files import OPENAI_DECODER, OPENAI_ENCODER, join, load, load_released
from dalle.dvae.network import DVAE, Decoder, Encoder
from dalle.shipped import shipped
from dalle.training.model_file import weights_of
from dalle.training.precision import computes_in_bfloat16
from schemas.manifest import WEIGHTS
from schemas.planning import NotThereYet, reads

EncoderPrecision = Literal["fp32", "bf16"]
NAMES = (
    "builtin, drawings, openai, a file, a folder of dalle.train_dvae or with encoder.pkl and decoder.pkl, or "
    "MODULE:FUNCTION"
)


class ImageEncoder(Protocol):
    """What an encoder offers; a taming VQGAN needs a dozen lines around it.

    One that also has `decode`, [B, n] int64 codes to [B, 3, H, W] float32 in [0, 1], is shown on contact sheets; one
    that has `vocab_size` is held to it.
    """

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, 256, 256] uint8 RGB to [B, ...] int64 codes below 65,536, row-major; the same number each time."""
        ...

    def fingerprint(self) -> str:
        """Changes when what codes mean would."""
        ...


class DVAEEncoder:
    """A dVAE in one precision, on one device (`cpu` or `cuda`)."""

    def __init__(self, network: DVAE, precision: EncoderPrecision, device: str) -> None:
        self._fingerprint = network.fingerprint()
        network = network.to(device).eval().requires_grad_(False)
        self._device = device
        self._network: Any = network
        if precision == "bf16":
            self._network = BF16DVAE(network)
        elif device == "cuda":
            network.to(memory_format=torch.channels_last)
        self.vocab_size = network.config.vocab_size
        self.codebook = network.codebook().float().cpu()
        """[K, d] float32: what the codes stand for."""

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, 256, 256] uint8 to [B, 32, 32] int64."""
        return self._network.encode(images.to(self._device)).cpu()

    def decode(self, codes: Tensor) -> Tensor:
        """[B, n] int64 to [B, 3, 8h, 8w] float32 in [0, 1], where n = h w and h = w."""
        side = round(codes[0].numel() ** 0.5)
        return self._network.decode(codes.view(len(codes), side, side).to(self._device)).cpu()

    def fingerprint(self) -> str:
        """Of sizes and weights."""
        return self._fingerprint


def fastest_precision(device: str) -> EncoderPrecision:
    """bfloat16 on a GPU, and on a processor that has it; float32 elsewhere, where it would be emulated."""
    return "bf16" if computes_in_bfloat16(device) else "fp32"


def default_device() -> str:
    """`cuda` where there is a GPU, `cpu` elsewhere."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_encoder(name: str = "builtin", precision: EncoderPrecision = "fp32", device: str = "cpu") -> ImageEncoder:
    """An encoder by its name.

    Raises:
        ValueError: if there is none of that name, or its weights cannot be read.
    """
    if ":" in name and "/" not in name:
        return _users_own(name)
    if name == "openai":
        return DVAEEncoder(load_pair(downloaded(OPENAI_ENCODER), downloaded(OPENAI_DECODER)), precision, device)
    if own := shipped(name, "dvae"):
        if not own.exists():
            raise ValueError(
                f"--dvae {name}: the weights that come with the package are missing ({own.name}); expected {NAMES}"
            )
        return DVAEEncoder(load(own), precision, device)
    path = Path(name)
    reads(path)
    if not path.exists():
        raise NotThereYet(f"--dvae {name}: is not there; expected {NAMES}", path)
    return DVAEEncoder(_load(path), precision, device)


def _load(path: Path) -> DVAE:
    """From a file, or from a folder that holds a dVAE in either of two ways."""
    released = path / "encoder.pkl", path / "decoder.pkl"
    if all(file.exists() for file in released) and not (path / WEIGHTS).exists():
        return load_pair(*released)
    return load(weights_of(path, "train_dvae", "--dvae"))


def load_pair(encoder: Path, decoder: Path) -> DVAE:
    """The dVAE of two files as OpenAI released them; the pickles in them are read, never executed."""
    networks = load_released(str(encoder)), load_released(str(decoder))
    if not isinstance(networks[0], Encoder) or not isinstance(networks[1], Decoder):
        raise ValueError(f"{encoder} and {decoder}: expected an encoder and a decoder, in this order")
    return join(networks[0], networks[1])


def _users_own(name: str) -> ImageEncoder:
    module, _, function = name.partition(":")
    try:
        encoder = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--dvae {name}: {error}; expected {NAMES}") from None
    missing = [method for method in ("encode", "fingerprint") if not callable(getattr(encoder, method, None))]
    if missing:
        raise ValueError(f"--dvae {name}: what it gives has no method {missing[0]}; see {__name__}.ImageEncoder")
    return encoder


def downloaded(address: str) -> Path:
    """A released file in the user's cache, where it is kept after the first time.

    Raises:
        ValueError: if it cannot be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dalle-pipelines"
    path = cache / address.rpartition("/")[2]
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            download(address, path)
        except ValueError as error:
            raise ValueError(f"--dvae openai: {error}, a folder with encoder.pkl and decoder.pkl") from None
    return path
