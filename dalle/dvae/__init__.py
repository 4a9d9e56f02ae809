"""The discrete variational autoencoder: a picture to a grid of codes and back.

>>> import torch
>>> dvae = load()
>>> images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)  # [B, 3, H, W], H and W multiples of 8
>>> codes = dvae.encode(images)  # [B, H/8, W/8] int64, each from 0 to 8191
>>> codes.shape, codes.dtype
(torch.Size([1, 8, 8]), torch.int64)
>>> reconstruction = dvae.decode(codes)  # [B, 3, H, W] float32 in [0, 1]
>>> reconstruction.shape, bool(reconstruction.mean() < 0.1)  # black stays dark
(torch.Size([1, 3, 64, 64]), True)
"""

from dalle.dvae.files import BUILTIN, join, load, load_released, save
from dalle.dvae.network import DVAE, Decoder, DVAEConfig, Encoder

__all__ = ["BUILTIN", "DVAE", "DVAEConfig", "Decoder", "Encoder", "join", "load", "load_released", "save"]
