"""The built-in near-duplicate detector: a small picture to a unit vector that survives editing.

A residual network after Ramesh et al. 2021 (the detector of CLIP, App. C) and Pizzi et al. 2022 (SSCD): generalised
mean pooling, one linear layer, unit length. No activation is ever normalised over a batch, which would let
copies in a batch give each other away; weights are standardised instead (Brock et al. 2021), which costs nothing
once they are folded.

Shapes: B pictures, S side, C channels, D dimension.
"""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.training.model_file import ModelKind, load_network
from dalle.training.tensor_file import write_tensors
from schemas.ranges import MOST_SIZE
from schemas.whole_file import whole_file


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The size of the network."""

    side: int = 128
    """Sides of the pictures it sees, in pixels; a multiple of 4."""
    widths: tuple[int, ...] = (64, 128, 256)
    """Channels of the stages at a quarter, an eighth, … of the side; multiples of 32 suit the processor's tiles."""
    depths: tuple[int, ...] = (1, 3, 3)
    """Residual blocks of each stage, 1 or more."""
    neck: int = 512
    """Channels that are pooled over the picture, 1 or more."""
    dimension: int = 256
    """Dimensions of a vector, 1 or more."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if len(self.widths) != len(self.depths):
            raise ValueError(
                f"--widths has {len(self.widths)} values, --depths {len(self.depths)}; give one for each stage"
            )
        sizes = (*self.widths, *self.depths, self.neck, self.dimension, self.side)
        if not all(1 <= size <= MOST_SIZE for size in sizes) or self.side % 4:
            raise ValueError(f"{self}: expected numbers of 1 to {MOST_SIZE:,}, and a side that is a multiple of 4")


class StandardConv(nn.Module):
    """A convolution whose weights have mean 0 and variance 1 / fan-in for each output, times a learned gain."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        fan_in = channels * kernel**2
        # as small as an ordinary initialisation: the scale of the weights sets how far a step of Adam turns them
        self.weight = nn.Parameter(torch.randn(out, channels, kernel, kernel) * fan_in**-0.5)
        self.gain = nn.Parameter(torch.ones(out, 1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out))
        self.stride = stride

    def standard_weight(self) -> Tensor:
        """The weight as it is used."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        scale = torch.rsqrt(variance * self.weight[0].numel() + 1e-4) * self.gain
        return (self.weight - mean) * scale

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H / stride, W / stride], in the precision of x."""
        weight = self.standard_weight().to(x.dtype, memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.bias.to(x.dtype), self.stride, self.weight.shape[2] // 2)

    def plain(self) -> nn.Conv2d:
        """The same as an ordinary convolution."""
        out, channels, kernel, _ = self.weight.shape
        conv = nn.Conv2d(channels, out, kernel, self.stride, kernel // 2)
        conv.load_state_dict({"weight": self.standard_weight().detach(), "bias": self.bias.detach()})
        return conv


class Block(nn.Module):
    """x + two 3 x 3 convolutions; the first block of a stage may halve the side and change the channels."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = StandardConv(channels, out, 3, stride)
        self.second = StandardConv(out, out, 3)
        self.shortcut = StandardConv(channels, out, 1) if channels != out else None
        self.pool = nn.AvgPool2d(2) if stride == 2 else None
        nn.init.constant_(self.second.gain, 0.2)  # starts close to the identity

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H / stride, W / stride]."""
        branch = self.second(F.relu(self.first(x)))
        x = self.pool(x) if self.pool is not None else x
        x = self.shortcut(x) if self.shortcut is not None else x
        return F.relu(x + branch)


class Detector(nn.Module):
    """[B, 3, S, S] in [-1, 1] to [B, D] of unit length."""

    centre: Tensor
    whitening: Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.widths[0]
        self.stem = StandardConv(48, channels, 3)
        blocks: list[Block] = []
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for index in range(depth):
                blocks.append(Block(channels, width, 2 if stage and not index else 1))
                channels = width
        self.blocks = nn.ModuleList(blocks)
        self.neck = StandardConv(channels, config.neck, 1)
        self.power = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Linear(config.neck, config.dimension)
        self.register_buffer("centre", torch.zeros(config.dimension))
        self.register_buffer("whitening", torch.eye(config.dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Vectors of pictures."""
        x = F.pixel_unshuffle(x, 4).contiguous(memory_format=torch.channels_last)  # [B, 48, S/4, S/4]
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)  # [B, C, S/16, S/16] at the end
        x = F.relu(self.neck(x)).float()
        pooled = x.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)
        vectors = F.normalize(self.head(pooled))  # [B, D]
        return F.normalize((vectors - self.centre) @ self.whitening)

    @torch.no_grad()
    def whiten(self, vectors: Tensor, floor: float = 0.1) -> None:
        """Make the directions in which ordinary pictures differ count alike, those in which they do not less.

        Args:
            vectors: [N, D] what the network gave for N pictures that are no copies of one another.
            floor: added to all variances, as a fraction of their mean, so that noise is not blown up.
        """
        self.centre.copy_(vectors.mean(0))
        variances, directions = torch.linalg.eigh(torch.cov(vectors.T).double())
        scales = (variances + floor * variances.mean()).rsqrt()
        self.whitening.copy_(directions * (scales / scales.mean()))

    @torch.no_grad()
    def unwhiten(self) -> None:
        """Undo `whiten`, to train on."""
        self.centre.zero_()
        self.whitening.copy_(torch.eye(len(self.centre)))


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pictures as the network takes them: [B, S, S, 3] uint8 to [B, 3, S, S] in [-1, 1], channels last.

    Worked out in `dtype`: in bfloat16 the rounding comes before the division.
    """
    return (pixels.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def save(model: Detector, path: Path) -> None:
    """Write the weights in half precision and the configuration to one safetensors file, whole or not at all."""
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, tensors, {"config": json.dumps(asdict(model.config))})


KIND = ModelKind(
    "a detector's network that dalle.train_detector wrote", DetectorConfig, Detector, lambda config: sum(config.depths)
)


def load(path: Path) -> Detector:
    """The network from a file that `save` wrote.

    Raises:
        ValueError: if the file is not one of ours, or its weights are no numbers.
        OSError: if it is not there.
    """
    return load_network(path, KIND)


def fold(model: Detector, dtype: torch.dtype = torch.float32) -> Detector:
    """A copy for use only: the standardised weights worked out once, as plain convolutions in this precision."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, StandardConv):
                conv = child.plain().to(dtype).to(memory_format=torch.channels_last)
                setattr(parent, name, conv.requires_grad_(False))
    return folded
