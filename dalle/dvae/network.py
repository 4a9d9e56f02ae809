"""The discrete variational autoencoder: a picture to a grid of codes, eight times smaller, and back.

    dvae = load(BUILTIN)
    codes = dvae.encode(images)          # [B, 3, 256, 256] uint8 to [B, 32, 32] int64, 0 to 8191
    again = dvae.decode(codes)           # [B, 3, 256, 256] float32 in [0, 1]

The architecture is the one that was released, tensor for tensor (PyPI `DALL-E` 0.1; Ramesh et al. 2021, App. A.2):
residual networks without any normalisation, whose branches are multiplied by a small constant; 1 x 1 convolutions on
either side of the codes. Training lives in `dalle.train_dvae`, fast use on a processor in `dalle.dvae.bf16`.

Shapes: B pictures of H x W pixels, h = H / 8 and w = W / 8, K codes, n hidden channels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.dvae.logit_laplace import map_pixels, reconstruct
from dalle.dvae.released import read_state_dict
from schemas.whole_file import whole_file

BUILTIN = Path(__file__).parents[1] / "weights" / "dvae.safetensors"
OPENAI_ENCODER = "https://cdn.openai.com/dall-e/encoder.pkl"
OPENAI_DECODER = "https://cdn.openai.com/dall-e/decoder.pkl"

GROUPS = 4
SHRINK = 8
"""A code stands for so many pixels squared."""


@dataclass(frozen=True, kw_only=True)
class DVAEConfig:
    """The size of the networks; the defaults are the paper's (App. A.2)."""

    vocab_size: int = 8192
    """Codes."""
    encoder_n_hid: int = 256
    """Channels of the encoder's first group; the last has eight times as many."""
    decoder_n_hid: int = 256
    """Channels of the decoder's last group; the first has eight times as many."""
    n_init: int = 128
    """Channels that a code becomes in the decoder."""
    n_blk_per_group: int = 2
    """Residual blocks in each of the four groups."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1 or (name.endswith("n_hid") and value % 4):
                raise ValueError(f"{name} is {value}, expected a positive number, for n_hid a multiple of 4")


class Conv2d(nn.Module):
    """A convolution that keeps the size; its tensors are named as released."""

    def __init__(self, n_in: int, n_out: int, kw: int, *, full_precision: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_out, n_in, kw, kw) / (n_in * kw**2) ** 0.5)
        self.b = nn.Parameter(torch.zeros(n_out))
        self.full_precision = full_precision
        """Whether it stays in float32 under autocast, as the layers on either side of the codes do."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, H, W] to [B, n_out, H, W]."""
        padding = self.w.shape[-1] // 2
        if not self.full_precision:
            return F.conv2d(x, self.w, self.b, padding=padding)
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), self.w, self.b, padding=padding)


def _id_path(n_in: int, n_out: int) -> nn.Module:
    return nn.Identity() if n_in == n_out else Conv2d(n_in, n_out, 1)


class EncoderBlock(nn.Module):
    """x + post_gain * three 3 x 3 convolutions and one 1 x 1."""

    def __init__(self, n_in: int, n_out: int, post_gain: float) -> None:
        super().__init__()
        n_hid = n_out // 4
        self.post_gain = post_gain
        self.id_path = _id_path(n_in, n_out)
        self.res_path = nn.Sequential(
            OrderedDict(
                relu_1=nn.ReLU(),
                conv_1=Conv2d(n_in, n_hid, 3),
                relu_2=nn.ReLU(inplace=True),
                conv_2=Conv2d(n_hid, n_hid, 3),
                relu_3=nn.ReLU(inplace=True),
                conv_3=Conv2d(n_hid, n_hid, 3),
                relu_4=nn.ReLU(inplace=True),
                conv_4=Conv2d(n_hid, n_out, 1),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, H, W] to [B, n_out, H, W]."""
        return torch.add(self.id_path(x), self.res_path(x), alpha=self.post_gain)


class DecoderBlock(nn.Module):
    """x + post_gain * one 1 x 1 convolution and three 3 x 3, on a picture that may first be doubled."""

    def __init__(self, n_in: int, n_out: int, post_gain: float, *, doubles: bool) -> None:
        super().__init__()
        n_hid = n_out // 4
        self.post_gain = post_gain
        self.doubles = doubles
        self.id_path = _id_path(n_in, n_out)
        self.res_path = nn.Sequential(
            OrderedDict(
                relu_1=nn.ReLU(),
                conv_1=Conv2d(n_in, n_hid, 1),
                relu_2=nn.ReLU(inplace=True),
                conv_2=Conv2d(n_hid, n_hid, 3),
                relu_3=nn.ReLU(inplace=True),
                conv_3=Conv2d(n_hid, n_hid, 3),
                relu_4=nn.ReLU(inplace=True),
                conv_4=Conv2d(n_hid, n_out, 3),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, H, W] to [B, n_out, H, W], or to [B, n_out, 2H, 2W]."""
        hidden = self.res_path[:2](x)
        x = self.id_path(x)
        if self.doubles:  # after the 1 x 1 convolutions, with which it commutes: a quarter of their products
            hidden, x = double(hidden), double(x)
        return torch.add(x, self.res_path[2:](hidden), alpha=self.post_gain)


def double(x: Tensor) -> Tensor:
    """Each pixel becomes four: [B, C, H, W] to [B, C, 2H, 2W]."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Encoder(nn.Module):
    """q(z | x): [B, 3, H, W] pixels in [0.1, 0.9] to [B, K, h, w] logits of the codes."""

    def __init__(self, *, n_hid: int = 256, n_blk_per_group: int = 2, vocab_size: int = 8192) -> None:
        super().__init__()
        self.n_hid, self.n_blk_per_group, self.vocab_size = n_hid, n_blk_per_group, vocab_size
        gain = (GROUPS * n_blk_per_group) ** -2
        n_in, blocks = n_hid, OrderedDict[str, nn.Module](input=Conv2d(3, n_hid, 7))
        for group in range(GROUPS):
            layers, n_out = OrderedDict[str, nn.Module](), n_hid * 2**group
            for block in range(n_blk_per_group):
                layers[f"block_{block + 1}"] = EncoderBlock(n_in, n_out, gain)
                n_in = n_out
            if group < GROUPS - 1:
                layers["pool"] = nn.MaxPool2d(2)
            blocks[f"group_{group + 1}"] = nn.Sequential(layers)
        output = Conv2d(n_in, vocab_size, 1, full_precision=True)
        blocks["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=output))
        self.blocks = nn.Sequential(blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits, float32 unless told otherwise."""
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % SHRINK or pixels.shape[3] % SHRINK:
            raise ValueError(f"pixels have shape {list(pixels.shape)}, expected [B, 3, H, W], H and W multiples of 8")
        return self.blocks(pixels)


class Decoder(nn.Module):
    """p(x | z): codes to [B, 6, H, W], location and log scale of every pixel's distribution."""

    def __init__(
        self, *, n_hid: int = 256, n_init: int = 128, n_blk_per_group: int = 2, vocab_size: int = 8192
    ) -> None:
        super().__init__()
        self.n_hid, self.n_blk_per_group, self.vocab_size = n_hid, n_blk_per_group, vocab_size
        self.n_init = n_init
        gain = (GROUPS * n_blk_per_group) ** -2
        n_in, blocks = n_init, OrderedDict[str, nn.Module](input=Conv2d(vocab_size, n_init, 1, full_precision=True))
        for group in range(GROUPS):
            layers, n_out = OrderedDict[str, nn.Module](), n_hid * 2 ** (GROUPS - 1 - group)
            for block in range(n_blk_per_group):
                doubles = group > 0 and block == 0
                layers[f"block_{block + 1}"] = DecoderBlock(n_in, n_out, gain, doubles=doubles)
                n_in = n_out
            blocks[f"group_{group + 1}"] = nn.Sequential(layers)
        blocks["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=Conv2d(n_in, 6, 1)))
        self.blocks = nn.Sequential(blocks)

    def forward(self, z: Tensor) -> Tensor:
        """From weights of the codes, [B, K, h, w], one-hot or relaxed, that sum to 1 at every place."""
        return self.blocks(z)

    def from_codes(self, codes: Tensor) -> Tensor:
        """From codes, [B, h, w] int64: a gather of columns in place of a product with 8192 mostly zeros."""
        return self.blocks[1:](embed(codes, self.blocks.get_submodule("input")))


def embed(codes: Tensor, layer: nn.Module) -> Tensor:
    """What a 1 x 1 convolution makes of one-hot codes: [B, h, w] to [B, C, h, w], channels last."""
    assert isinstance(layer, Conv2d)
    return (F.embedding(codes, layer.w[:, :, 0, 0].T) + layer.b).permute(0, 3, 1, 2)


class DVAE(nn.Module):
    """Both networks and what they are for."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        shared = {"n_blk_per_group": config.n_blk_per_group, "vocab_size": config.vocab_size}
        self.encoder = Encoder(n_hid=config.encoder_n_hid, **shared)
        self.decoder = Decoder(n_hid=config.decoder_n_hid, n_init=config.n_init, **shared)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] uint8, or float32 in [0, 1], to [B, H/8, W/8] int64: the likeliest codes, without noise."""
        return self.encoder(map_pixels(images)).argmax(1)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """[B, h, w] int64 to [B, 3, 8h, 8w] float32 in [0, 1]."""
        mu = self.decoder.from_codes(check_codes(codes, self.config.vocab_size))[:, :3]
        return reconstruct(mu.float())

    def fingerprint(self) -> str:
        """sha256 of sizes and weights: what codes mean something to depends on nothing else."""
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()


def check_codes(codes: Tensor, vocab_size: int) -> Tensor:
    """The very same codes.

    Raises:
        ValueError: if one of them is no code; on a GPU the gather would only say that a kernel failed.
    """
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < vocab_size:
        raise ValueError(f"codes go from {codes.min()} to {codes.max()}, expected 0 to {vocab_size - 1}")
    return codes


def save(dvae: DVAE, path: str | os.PathLike[str]) -> None:
    """Write the weights in half precision and the sizes to one safetensors file."""
    tensors = {name: value.half().contiguous() for name, value in dvae.state_dict().items()}
    with whole_file(Path(path)) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(tensors, {"config": json.dumps(asdict(dvae.config))}))


def load(path: str | os.PathLike[str] = BUILTIN) -> DVAE:
    """The dVAE from a file that `save` wrote.

    Raises:
        ValueError: if the file is not one of ours.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            config = (file.metadata() or {}).get("config")
            if config is None:
                raise ValueError(f"{path}: has no config in its metadata, expected a file that dalle.dvae.save wrote")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        dvae = DVAE(DVAEConfig(**json.loads(config)))
        dvae.load_state_dict(tensors)
    except (safetensors.SafetensorError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}: is not a dVAE that dalle.dvae.save wrote ({reason})") from None
    return dvae.eval()


def load_released(path: str) -> Encoder | Decoder:
    """OpenAI's `encoder.pkl` or `decoder.pkl`, or a network of another size saved in the same way.

    Args:
        path: a file, or an address that fsspec opens. The pickle in it is read, never executed.

    Raises:
        ValueError: if it is no such network, or the pickle holds anything that a network does not need.
    """
    state = read_state_dict(path)
    sizes = {"n_blk_per_group": sum(name.startswith("blocks.group_1.") and name.endswith("conv_1.w") for name in state)}
    try:
        first, last = state["blocks.input.w"], state["blocks.output.conv.w"]
        network: Encoder | Decoder
        if first.shape[-1] == 1:
            sizes |= {"n_hid": last.shape[1], "n_init": first.shape[0], "vocab_size": first.shape[1]}
            network = Decoder(**sizes)
        else:
            network = Encoder(n_hid=first.shape[0], vocab_size=last.shape[0], **sizes)
        network.load_state_dict(state)
    except (KeyError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}: is not an encoder or decoder as released: {reason}") from None
    return network.eval()


def join(encoder: Encoder, decoder: Decoder) -> DVAE:
    """The dVAE of two networks that were made for each other.

    Raises:
        ValueError: if their codes or depths differ.
    """
    ours, theirs = (encoder.vocab_size, encoder.n_blk_per_group), (decoder.vocab_size, decoder.n_blk_per_group)
    if ours != theirs:
        raise ValueError(
            f"the encoder has {ours[0]} codes and {ours[1]} blocks a group, the decoder {theirs[0]} and {theirs[1]}; "
            "expected two networks that were trained together"
        )
    config = DVAEConfig(
        vocab_size=encoder.vocab_size,
        encoder_n_hid=encoder.n_hid,
        decoder_n_hid=decoder.n_hid,
        n_init=decoder.n_init,
        n_blk_per_group=encoder.n_blk_per_group,
    )
    with torch.device("meta"):
        dvae = DVAE(config)
    dvae.encoder, dvae.decoder = encoder, decoder
    return dvae.eval()
