"""The Inception v3 networks that pictures are judged by, in the three forms whose weights are in use.

They have the same convolutions and differ in what they pool over, which changes every feature:

| form | classes | average pooling at an edge | last block | used by |
|---|---|---|---|---|
| `tf` | 1,008 | of what is there | maximum | FID and IS of everybody: TensorFlow's inception-2015-12-05 |
| `torchvision` | 1,000 | zeros count | average | FID of DM-GAN's code, and so of the paper |
| `birds` | 51 | of what is there | average | IS on CUB: StackGAN's, fine-tuned on 50 classes and a background |

Batch normalisation is folded into the convolutions when weights are read, since nothing is ever trained here.

Source: Szegedy et al. 2015 (arXiv 1512.00567); names of the weights as torchvision and pytorch-fid have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 299
"""Of the pictures that it takes, in pixels."""
FEATURES = 2048
"""Of a picture: the means of the last block, `pool3`."""
EPSILON = 1e-3
"""Of batch normalisation."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What one form of the network does that others do not."""

    name: str
    classes: tuple[int, ...]
    """How many its last layer may have; how weights tell which form they are of."""
    zeros_count: bool
    """Whether the zeros around a picture count in averages."""
    ends_with_maximum: bool
    """Whether the last block takes maxima."""


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        form.name: form
        for form in (
            Form(name="tf", classes=(1008,), zeros_count=False, ends_with_maximum=True),
            Form(name="torchvision", classes=(1000,), zeros_count=True, ends_with_maximum=False),
            Form(name="birds", classes=(51, 50), zeros_count=False, ends_with_maximum=False),
        )
    }
)


class Conv(nn.Module):
    """A convolution, its batch normalisation, and a rectifier."""

    def __init__(
        self, channels: int, filters: int, size: int | tuple[int, int] = 1, *, stride: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        around = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(channels, filters, (height, width), stride=stride, padding=around)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, filters, H', W']."""
        return F.relu(self.conv(x), inplace=True)


class _Block(nn.Module):
    """Branches beside each other; their results are stacked."""

    def __init__(self, form: Form, *, maximum: bool = False) -> None:
        super().__init__()
        self._zeros_count, self._maximum = form.zeros_count, maximum

    def pooled(self, x: Tensor) -> Tensor:
        """Over 3 x 3, as large as before."""
        if self._maximum:
            return F.max_pool2d(x, 3, stride=1, padding=1)
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=self._zeros_count)


class BlockA(_Block):
    """35 x 35."""

    def __init__(self, form: Form, channels: int, pool_filters: int) -> None:
        super().__init__(form)
        self.branch1x1 = Conv(channels, 64)
        self.branch5x5_1, self.branch5x5_2 = Conv(channels, 48), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 64), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(channels, pool_filters)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, 35, 35] to [B, 224 + pool_filters, 35, 35]."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.pooled(x))], 1)


class BlockB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Conv(288, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(288, 64), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 288, 35, 35] to [B, 768, 17, 17]."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(_Block):
    """17 x 17."""

    def __init__(self, form: Form, inner: int) -> None:
        super().__init__(form)
        row, column = (1, 7), (7, 1)
        self.branch1x1 = Conv(768, 192)
        self.branch7x7_1, self.branch7x7_2 = Conv(768, inner), Conv(inner, inner, row)
        self.branch7x7_3 = Conv(inner, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(768, inner), Conv(inner, inner, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(inner, inner, row), Conv(inner, inner, column)
        self.branch7x7dbl_5 = Conv(inner, 192, row)
        self.branch_pool = Conv(768, 192)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 768, 17, 17] to the same."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pooled(x))], 1)


class BlockD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(768, 192), Conv(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(768, 192), Conv(192, 192, (1, 7))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 768, 17, 17] to [B, 1280, 8, 8]."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(_Block):
    """8 x 8."""

    def __init__(self, form: Form, channels: int, *, maximum: bool = False) -> None:
        super().__init__(form, maximum=maximum)
        row, column = (1, 3), (3, 1)
        self.branch1x1 = Conv(channels, 320)
        self.branch3x3_1 = Conv(channels, 384)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 448), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch_pool = Conv(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, 8, 8] to [B, 2048, 8, 8]."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*branches, self.branch_pool(self.pooled(x))], 1)


class Inception(nn.Module):
    """A picture to its 2,048 features.

    Args:
        form: one of `FORMS`.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = Conv(32, 32, 3, same=False), Conv(32, 64, 3)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80), Conv(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (
            BlockA(form, 192, 32),
            BlockA(form, 256, 64),
            BlockA(form, 288, 64),
        )
        self.Mixed_6a = BlockB()
        self.Mixed_6b, self.Mixed_6c = BlockC(form, 128), BlockC(form, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(form, 160), BlockC(form, 192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b, self.Mixed_7c = BlockE(form, 1280), BlockE(form, 2048, maximum=form.ends_with_maximum)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 299, 299], in the range that the form was trained with, to [B, 2048]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [B, 64, 147, 147]
        x = F.max_pool2d(x, 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)  # [B, 192, 35, 35]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # [B, 768, 17, 17]
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [B, 2048, 8, 8]
        return x.mean((2, 3))


def convolutions(network: nn.Module) -> dict[str, Conv]:
    """The network's convolutions with their batch normalisation, by the names that files of weights have."""
    return {name: part for name, part in network.named_modules() if isinstance(part, Conv)}


def folded(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights of the network, made of those of a file that has batch normalisation beside each convolution."""
    made = {}
    for name in convolutions(network):
        kernel, gain = weights[f"{name}.conv.weight"].double(), weights[f"{name}.bn.weight"].double()
        mean, variance = weights[f"{name}.bn.running_mean"].double(), weights[f"{name}.bn.running_var"].double()
        scale = gain / torch.sqrt(variance + EPSILON)
        made[f"{name}.conv.weight"] = (kernel * scale[:, None, None, None]).float()
        made[f"{name}.conv.bias"] = (weights[f"{name}.bn.bias"].double() - mean * scale).float()
    return made
