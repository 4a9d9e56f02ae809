"""A dVAE over whole patches, for drawings at a small budget: all work is done on the grid of the codes.

Not in the paper. Its network begins at full resolution, where a processor spends most of an hour on layers that see a
few pixels each. Here a patch of 8 x 8 pixels is 192 numbers at one place of the grid, which residual blocks look at
together with those of its neighbours; a patch comes back the same way. Such a network can begin where a linear one ends
(`dalle.dvae.patch_codes`): from the principal components of patches, with codes chosen among them.

Names and interfaces are those of `dalle.dvae.network`. Shapes: B pictures of H x W pixels, h = H / 8 and w = W / 8, K
codes, d = n_init numbers that a code stands for, n hidden channels.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from dalle.dvae.convolution import SHRINK, Conv2d, check_pixels, embed

SUBPIXELS = 3 * SHRINK**2
"""Of a patch."""


class PatchBlock(nn.Module):
    """x + what a 3 x 3 convolution between two of 1 x 1 finds in the normed x; at first nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)  # of each place on its own: a code means the same in every picture
        self.conv_1 = Conv2d(channels, channels // 2, 1)
        self.conv_2 = Conv2d(channels // 2, channels // 2, 3)
        self.conv_3 = Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.conv_3.w)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, h, w] to the same."""
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv_3(F.gelu(self.conv_2(F.gelu(self.conv_1(normed)))))


def _group(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"block_{index + 1}", PatchBlock(channels)) for index in range(blocks)))


class PatchEncoder(nn.Module):
    """q(z | x): [B, 3, H, W] pixels in [0.1, 0.9] to [B, K, h, w] logits: minus half a squared distance each."""

    def __init__(self, *, n_hid: int, n_init: int, n_blk_per_group: int, vocab_size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            OrderedDict(
                patches=nn.PixelUnshuffle(SHRINK),
                input=Conv2d(SUBPIXELS, n_hid, 1),
                group_1=_group(n_hid, n_blk_per_group),
                head=Conv2d(n_hid, n_init, 1, full_precision=True),
                output=nn.Sequential(OrderedDict(conv=Conv2d(n_init, vocab_size, 1, full_precision=True))),
            )
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits, but for what is the same for all codes."""
        return self.blocks(check_pixels(pixels))

    def numbers(self, pixels: Tensor) -> Tensor:
        """What is compared with the codes: [B, 3, H, W] in [0.1, 0.9] to [B, d, h, w]."""
        return self.blocks[:-1](check_pixels(pixels))


class PatchDecoder(nn.Module):
    """p(x | z): codes to [B, 6, H, W], as the released one; the three of the scale are not trained."""

    def __init__(self, *, n_hid: int, n_init: int, n_blk_per_group: int, vocab_size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            OrderedDict(
                input=Conv2d(vocab_size, n_init, 1, full_precision=True),
                project=Conv2d(n_init, n_hid, 1),
                group_1=_group(n_hid, n_blk_per_group),
                output=nn.Sequential(
                    OrderedDict(conv=Conv2d(n_hid, 2 * SUBPIXELS, 1), picture=nn.PixelShuffle(SHRINK))
                ),
            )
        )

    def forward(self, z: Tensor) -> Tensor:
        """From weights of the codes, [B, K, h, w], that sum to 1 at every position."""
        return self.blocks(z)

    def from_codes(self, codes: Tensor) -> Tensor:
        """From codes, [B, h, w] int64."""
        return self.from_numbers(embed(codes, self.blocks.get_submodule("input")))

    def from_numbers(self, numbers: Tensor) -> Tensor:
        """From what codes stand for, [B, d, h, w]."""
        return self.blocks[1:](numbers)
