"""A picture to what Inception sees of it, as each tool has it: they differ by more than models of one year do.

| name | resized by | its own tool |
|---|---|---|
| `pytorch-fid` | torch, bilinear, without antialiasing | pytorch-fid 0.3.0, clean-fid's `legacy_pytorch` |
| `torch-fidelity` | TensorFlow 1's bilinear, to the last bit | torch-fidelity 0.4.0, torchmetrics, the original TTUR |
| `clean-fid` | Pillow's bicubic with antialiasing, on floats, clipped, not rounded | clean-fid 0.1.35, `clean` |
| `legacy-tf` | TensorFlow 1's bilinear through a sampling grid | clean-fid's `legacy_tensorflow`, StyleGAN2-ADA |
| `dm-gan` | Pillow's bilinear, rounded; then torch's with corners aligned | DM-GAN's FID |
| `imresize` | Pillow's bilinear, rounded | DM-GAN's IS (scipy.misc.imresize) |
| `imresize-slim` | the same, divided by 127.5 | StackGAN's IS on birds |

All take [H, W, 3] uint8 and give [3, 299, 299] float32 in the range that the network of the tool is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dalle.evaluation.inception import SIDE
from dalle.pictures.pixels import Pixels

ResizeName = Literal["pytorch-fid", "torch-fidelity", "clean-fid", "legacy-tf"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pytorch_fid(pixels: Pixels) -> np.ndarray:
    """As pytorch-fid has it; -1 to 1."""
    x = _tensor(pixels) / 255
    return _numpy(2 * F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False) - 1)


def torch_fidelity(pixels: Pixels) -> np.ndarray:
    """As torch-fidelity and TensorFlow 1 have it; -1 to 127 / 128.

    A pixel of the result lies where its number times in / out points to, so the picture shifts by half a pixel.
    """
    x = _tensor(pixels)
    top, bottom, dy = _neighbours(x.shape[2])
    left, right, dx = _neighbours(x.shape[3])
    upper, lower = x[:, :, top], x[:, :, bottom]
    upper = upper[..., left] + (upper[..., right] - upper[..., left]) * dx
    lower = lower[..., left] + (lower[..., right] - lower[..., left]) * dx
    return _numpy((upper + (lower - upper) * dy[:, None] - 128) / 128)


def clean_fid(pixels: Pixels) -> np.ndarray:
    """As clean-fid has it: each channel as floats, clipped where bicubic overshoots, not rounded; -1 to 127 / 128."""
    channels = [Image.fromarray(pixels[..., c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for channel in channels]
    return (np.stack(resized).clip(0, 255) - np.float32(128)) / np.float32(128)


def legacy_tf(pixels: Pixels) -> np.ndarray:
    """As the TorchScript file does it that clean-fid takes for `legacy_tensorflow`; within 1e-3 of TensorFlow's."""
    x = _tensor(pixels)
    height, width = x.shape[2:]
    theta = torch.eye(2, 3)
    theta[0, 2] += theta[0, 0] / width - theta[0, 0] / SIDE
    theta[1, 2] += theta[1, 1] / height - theta[1, 1] / SIDE
    grid = F.affine_grid(theta[None], [1, 3, SIDE, SIDE], align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _numpy((x - 128) / 128)


def dm_gan(pixels: Pixels) -> np.ndarray:
    """As DM-GAN's code has it for FID: resized twice, and moved as if the picture had been normalised, which it is not.

    So the network sees about -0.03 to 0.43. Source: MinfengZhu/DM-GAN@d515995, and torchvision's `transform_input`.
    """
    x = F.interpolate(_tensor(_pillow(pixels)) / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    std, mean = (torch.tensor(values)[:, None, None] for values in (_IMAGENET_STD, _IMAGENET_MEAN))
    return _numpy(x * (std / 0.5) + (mean - 0.5) / 0.5)


def imresize(pixels: Pixels) -> np.ndarray:
    """As DM-GAN's code has it for IS on COCO; -1 to 127 / 128."""
    return _numpy((_tensor(_pillow(pixels)) - 128) / 128)


def imresize_slim(pixels: Pixels) -> np.ndarray:
    """As StackGAN's code has it for IS on birds; -1 to 1."""
    return _numpy(_tensor(_pillow(pixels)) / 127.5 - 1)


RESIZE: Mapping[str, Callable[[Pixels], np.ndarray]] = MappingProxyType(
    {
        "pytorch-fid": pytorch_fid,
        "torch-fidelity": torch_fidelity,
        "clean-fid": clean_fid,
        "legacy-tf": legacy_tf,
        "dm-gan": dm_gan,
        "imresize": imresize,
        "imresize-slim": imresize_slim,
    }
)


def _tensor(pixels: Pixels) -> Tensor:
    """[1, 3, H, W] float32, 0 to 255."""
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))


def _numpy(x: Tensor) -> np.ndarray:
    return x[0].numpy()


def _pillow(pixels: Pixels) -> Pixels:
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _neighbours(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of 299 places of the result: the two of the picture it lies between, and how far from the first."""
    place = torch.arange(SIDE, dtype=torch.float32) * torch.tensor(length / SIDE, dtype=torch.float32)
    low = place.long()
    return low, (low + 1).clamp_max(length - 1), place - low.float()
