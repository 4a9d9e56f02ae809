"""The discrete variational autoencoder: a picture to a grid of codes and back.

dvae = load()
codes = dvae.encode(images)          # [B, 3, 256, 256] uint8 to [B, 32, 32] int64, 0 to 8191
again = dvae.decode(codes)           # [B, 3, 256, 256] float32 in [0, 1]
"""

from dalle.dvae.network import BUILTIN, DVAE, Decoder, DVAEConfig, Encoder, join, load, load_released, save

__all__ = ["BUILTIN", "DVAE", "DVAEConfig", "Decoder", "Encoder", "join", "load", "load_released", "save"]
