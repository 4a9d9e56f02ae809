"""The discrete variational autoencoder: a picture to a grid of codes, eight times smaller, and back.

The architecture is the one that was released, tensor for tensor (PyPI `DALL-E` 0.1; Ramesh et al. 2021, App. A.2):
residual networks without any normalisation, whose branches are multiplied by a small constant; 1 x 1 convolutions on
either side of the codes. Beside it there is a cheaper one over whole patches (`dalle.dvae.patch_network`). Files are
read and written in `dalle.dvae.files`, training lives in `dalle.train_dvae`, fast use on a processor in
`dalle.dvae.bf16`.

Shapes: B pictures of H x W pixels, h = H / 8 and w = W / 8, K codes, n hidden channels.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.dvae.convolution import Conv2d, check_pixels, embed, layer_of
from dalle.dvae.logit_laplace import map_pixels, reconstruct
from dalle.dvae.patch_network import SUBPIXELS, PatchDecoder, PatchEncoder
from schemas.options import options_json, unless_default
from schemas.ranges import MOST_SIZE

GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class DVAEConfig:
    """The size of the networks; the defaults are the paper's (App. A.2)."""

    vocab_size: int = 8192
    """Codes in the codebook, 1 or more."""
    encoder_n_hid: int = 256
    """Channels of the encoder's first group, a multiple of 4; the last has eight times as many."""
    decoder_n_hid: int = 256
    """Channels of the decoder's last group, a multiple of 4; the first has eight times as many."""
    n_init: int = 128
    """Channels that a code is embedded in at the decoder's beginning, 1 or more."""
    n_blk_per_group: int = 2
    """Residual blocks in each of the four groups, 1 or more; in the one group of a patch network."""
    patches: int = unless_default(default=0)
    """1: a network over patches of 8 x 8 pixels (`dalle.dvae.patch_network`), not in the paper: cheap, and soon good on
    drawings; 0: the one that was released."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "patches":
                if value not in (0, 1):
                    raise ValueError(f"patches is {value}, expected 0 or 1")
            elif not 1 <= value <= MOST_SIZE or (name.endswith("n_hid") and value % 4):
                raise ValueError(f"{name} is {value}, expected 1 to {MOST_SIZE:,}, for n_hid a multiple of 4")
        most = min(self.encoder_n_hid, self.decoder_n_hid, SUBPIXELS)
        if self.patches and self.n_init > most:
            raise ValueError(
                f"n_init is {self.n_init}, expected at most {most} for a patch network: neither more than the "
                f"{SUBPIXELS} numbers of a patch nor than the channels on either side"
            )


def _id_path(n_in: int, n_out: int) -> nn.Module:
    return nn.Identity() if n_in == n_out else Conv2d(n_in, n_out, 1)


def _res_path(n_in: int, n_out: int, kernels: tuple[int, int, int, int]) -> nn.Sequential:
    """Four convolutions of these sides, a rectifier before each; a quarter of the channels in between."""
    n_hid = n_out // 4
    channels = (n_in, n_hid, n_hid, n_hid, n_out)
    layers = OrderedDict[str, nn.Module]()
    for index, kw in enumerate(kernels):
        layers[f"relu_{index + 1}"] = nn.ReLU(inplace=index > 0)  # the block's own input is needed again
        layers[f"conv_{index + 1}"] = Conv2d(channels[index], channels[index + 1], kw)
    return nn.Sequential(layers)


class EncoderBlock(nn.Module):
    """x + post_gain * three 3 x 3 convolutions and one 1 x 1."""

    def __init__(self, n_in: int, n_out: int, post_gain: float) -> None:
        super().__init__()
        self.post_gain = post_gain
        self.id_path = _id_path(n_in, n_out)
        self.res_path = _res_path(n_in, n_out, (3, 3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, H, W] to [B, n_out, H, W]."""
        return torch.add(self.id_path(x), self.res_path(x), alpha=self.post_gain)


class DecoderBlock(nn.Module):
    """x + post_gain * one 1 x 1 convolution and three 3 x 3, on a picture that may first be doubled."""

    def __init__(self, n_in: int, n_out: int, post_gain: float, *, doubles: bool) -> None:
        super().__init__()
        self.post_gain = post_gain
        self.doubles = doubles
        self.id_path = _id_path(n_in, n_out)
        self.res_path = _res_path(n_in, n_out, (1, 3, 3, 3))

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
        return self.blocks(check_pixels(pixels))


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
        """From weights of the codes, [B, K, h, w], one-hot or relaxed, that sum to 1 at every position."""
        return self.blocks(z)

    def from_codes(self, codes: Tensor) -> Tensor:
        """From codes, [B, h, w] int64: a gather of columns in place of a product with 8192 mostly zeros."""
        return self.blocks[1:](embed(codes, self.blocks.get_submodule("input")))


class DVAE(nn.Module):
    """Both networks and what they are for."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        shared = {"n_blk_per_group": config.n_blk_per_group, "vocab_size": config.vocab_size}
        self.encoder: Encoder | PatchEncoder
        self.decoder: Decoder | PatchDecoder
        if config.patches:
            self.encoder = PatchEncoder(n_hid=config.encoder_n_hid, n_init=config.n_init, **shared)
            self.decoder = PatchDecoder(n_hid=config.decoder_n_hid, n_init=config.n_init, **shared)
        else:
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

    def codebook(self) -> Tensor:
        """What the codes stand for, [K, d]; gradients go to the decoder's first layer."""
        return layer_of(self.decoder, "input").w[:, :, 0, 0].T

    def fingerprint(self) -> str:
        """sha256 of sizes and weights: what codes mean something to depends on nothing else."""
        digest = hashlib.sha256(json.dumps(options_json(self.config), sort_keys=True).encode())
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
