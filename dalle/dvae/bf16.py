"""The dVAE in bfloat16, for use only: on a processor with bfloat16 instructions as fast as it multiplies.

    fast = BF16DVAE(dvae)
    codes = fast.encode(images)          # as DVAE.encode, several times sooner

On a processor the weights are packed once for oneDNN, additions and rectifiers happen inside the convolutions, and the
large tensors are used again and again: fresh memory costs more than the arithmetic (a 32 MiB tensor is mapped page
by page, at each layer). Every picture goes through on its own for the same reason. On a GPU, and over patches, the
networks run under autocast.

The output layer decides in float32, as in the release: a bfloat16 product nominates, and wherever its two best codes
are closer than its error may be, the float32 layer is worked out as well.

An instance is for one thread at a time.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.dvae.logit_laplace import map_pixels, reconstruct
from dalle.dvae.network import DVAE, Conv2d, DecoderBlock, EncoderBlock, check_codes, double, embed
from dalle.training.precision import has_fast_bfloat16

FEW_POSITIONS = 64 * 64
"""Up to so many positions oneDNN 3.13's 1 x 1 convolution runs at a tenth to a third of its matrix product's rate."""


class BF16DVAE:
    """A dVAE that encodes and decodes in bfloat16, on the device where it is."""

    def __init__(self, dvae: DVAE) -> None:
        self.config = dvae.config
        self.device = next(dvae.parameters()).device
        self._packed = self.device.type == "cpu" and has_fast_bfloat16() and not dvae.config.patches
        if self._packed:
            self._encoder, self._decoder = _Encoder(dvae), _Decoder(dvae)
        else:
            self._networks = copy.deepcopy(dvae).eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] uint8, or float32 in [0, 1], to [B, H/8, W/8] int64."""
        pixels = map_pixels(images.to(self.device))
        if self._packed:
            return torch.cat([self._encoder(picture) for picture in pixels.split(1)])
        with torch.autocast(self.device.type, torch.bfloat16):
            return self._networks.encoder(pixels.contiguous(memory_format=torch.channels_last)).argmax(1)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """[B, h, w] int64 to [B, 3, 8h, 8w] float32 in [0, 1]."""
        codes = check_codes(codes, self.config.vocab_size).to(self.device)
        if self._packed:
            return torch.cat([self._decoder(grid) for grid in codes.split(1)])
        with torch.autocast(self.device.type, torch.bfloat16):
            return reconstruct(self._networks.decoder.from_codes(codes)[:, :3].float())


class Scratch(threading.local):
    """Large tensors that are made once for each purpose and used again; each thread has its own.

    Some runners (Flink's, for one) encode several shards in threads of one worker process.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def __call__(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """A channels-last bfloat16 tensor [B, C, H, W] with whatever was left in it."""
        batch, channels, height, width = shape
        count = batch * channels * height * width
        if purpose not in self._kept or self._kept[purpose].numel() < count:
            # numpy asks for huge pages, torch for none: half the time of everything that is bound by memory
            self._kept[purpose] = torch.from_numpy(np.zeros(count, np.int16)).view(torch.bfloat16)
        return self._kept[purpose][:count].view(batch, height, width, channels).permute(0, 3, 1, 2)


class _Conv:
    """A convolution packed for oneDNN, with a rectifier or an addition inside; on a small grid of 1 x 1 a product."""

    def __init__(self, layer: nn.Module, gain: float = 1) -> None:
        assert isinstance(layer, Conv2d)
        self.channels = layer.w.shape[0]
        self._padding = [layer.w.shape[-1] // 2] * 2
        weight = (layer.w.detach() * gain).bfloat16().contiguous(memory_format=torch.channels_last)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, self._padding)
        self._bias = (layer.b.detach() * gain).bfloat16()
        self._rest = [self._padding, [1, 1], [1, 1], 1]
        self._matrix = weight[:, :, 0, 0].T if layer.w.shape[-1] == 1 else None  # [C, C']

    def _product(self, x: Tensor) -> Tensor | None:
        """[B, C, H, W] to [B, C', H, W], channels last, if that is the faster way."""
        batch, channels, height, width = x.shape
        if self._matrix is None or height * width > FEW_POSITIONS:
            return None
        out = torch.addmm(self._bias, x.permute(0, 2, 3, 1).reshape(-1, channels), self._matrix)
        return out.view(batch, height, width, self.channels).permute(0, 3, 1, 2)

    def __call__(self, x: Tensor, then: str = "none") -> Tensor:
        """The convolution, then nothing (`none`) or a rectifier (`relu`)."""
        if (product := self._product(x)) is not None:
            return F.relu_(product) if then == "relu" else product
        return torch.ops.mkldnn._convolution_pointwise(x, self._weight, self._bias, *self._rest, then, [], "")

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution of x to a tensor in place."""
        if (product := self._product(x)) is not None:
            return total.add_(product)
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, self._weight, self._bias, *self._rest, "add", None, None, [], None
        )


class _Block:
    """A residual block of either network."""

    def __init__(self, block: nn.Module, scratch: Scratch) -> None:
        assert isinstance(block, (EncoderBlock, DecoderBlock))
        path = block.res_path
        self._id_path = None if isinstance(block.id_path, nn.Identity) else _Conv(block.id_path)
        self._first, self._second, self._third = (_Conv(path.get_submodule(f"conv_{i}")) for i in (1, 2, 3))
        self._fourth = _Conv(path.get_submodule("conv_4"), block.post_gain)
        self._doubles = isinstance(block, DecoderBlock) and block.doubles
        self._scratch = scratch

    def __call__(self, x: Tensor) -> Tensor:
        """The block; x may be overwritten."""
        hidden = self._first(torch.clamp_min(x, 0, out=self._scratch("relu", x.shape)), "relu")
        x = x if self._id_path is None else self._id_path(x)
        if self._doubles:
            hidden, x = double(hidden), double(x)
        return self._fourth.add_to(x, self._third(self._second(hidden, "relu"), "relu"))


class _Encoder:
    """One picture to codes."""

    def __init__(self, dvae: DVAE) -> None:
        blocks = dvae.encoder.blocks
        self._scratch = Scratch()
        self._input = _Conv(blocks.get_submodule("input"))
        self._groups = [
            [_Block(layer, self._scratch) for layer in group.children() if isinstance(layer, EncoderBlock)]
            for name, group in blocks.named_children()
            if name.startswith("group_")
        ]
        self._output = _Output(blocks.get_submodule("output.conv"))

    def __call__(self, pixels: Tensor) -> Tensor:
        """[1, 3, H, W] float32 to [1, h, w] int64."""
        x = pixels.bfloat16().contiguous(memory_format=torch.channels_last)
        stream = self._scratch("stream", (1, self._input.channels, *x.shape[2:])).zero_()
        x = self._input.add_to(stream, x)
        for index, group in enumerate(self._groups):
            x = halve(x) if index else x
            for block in group:
                x = block(x)
        return self._output(F.relu(x))


def halve(x: Tensor) -> Tensor:
    """`F.max_pool2d(x, 2)` for channels-last tensors without the table of where each maximum was."""
    rows = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


class _Output:
    """The output layer: features to the codes that it is worth the most in float32."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, Conv2d)
        self._nominate = _Conv(layer)
        self._weight, self._bias = layer.w.detach()[:, :, 0, 0].float(), layer.b.detach().float()  # [K, C], [K]
        lost = (self._weight - self._weight.bfloat16()).norm(dim=1).max() / self._weight.shape[1] ** 0.5
        self._lost_in_weights = 8 * 2**0.5 * float(lost)  # eight standard deviations of a difference of two logits
        self._lost_in_bias = 2 * float((self._bias - self._bias.bfloat16()).abs().max())

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, h, w]."""
        batch, channels, height, width = x.shape
        features = x.permute(0, 2, 3, 1).reshape(-1, channels)  # [N, C]
        logits = self._nominate(x).permute(0, 2, 3, 1).reshape(len(features), -1)  # [N, K]
        two, codes = logits.topk(2)
        best, second = two.float().unbind(1)
        error = self._lost_in_weights * features.float().norm(dim=1) + self._lost_in_bias
        error += 2**-7 * 1.02 * best.abs()  # rounding to 8 bits keeps the order, so one step of it at most
        codes = codes[:, 0]
        doubtful = best - second <= error
        least = (best - error)[doubtful, None]
        codes[doubtful] = self._decide(features[doubtful], logits[doubtful] >= least)
        return codes.view(batch, height, width)

    def _decide(self, features: Tensor, nominated: Tensor) -> Tensor:
        """The code of the largest float32 logit among those nominated: [M, C], [M, K] bool to [M]."""
        position, code = nominated.nonzero().unbind(1)
        worth = (features.float()[position] * self._weight[code]).sum(1) + self._bias[code]
        logits = torch.full(nominated.shape, -torch.inf)
        logits[position, code] = worth
        return logits.argmax(1)


class _Decoder:
    """One grid of codes to a picture."""

    def __init__(self, dvae: DVAE) -> None:
        blocks = dvae.decoder.blocks
        scratch = Scratch()
        self._input = blocks.get_submodule("input")
        self._blocks = [_Block(layer, scratch) for layer in blocks.modules() if isinstance(layer, DecoderBlock)]
        self._output = _Conv(blocks.get_submodule("output.conv"))

    def __call__(self, codes: Tensor) -> Tensor:
        """[1, h, w] int64 to [1, 3, 8h, 8w] float32."""
        x = embed(codes, self._input).bfloat16().contiguous(memory_format=torch.channels_last)
        for block in self._blocks:
            x = block(x)
        return reconstruct(self._output(F.relu_(x))[:, :3].float())
