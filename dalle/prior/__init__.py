"""The transformer over text tokens and image codes: network, options, and its training in progress.

>>> import torch
>>> config = PriorConfig(vocab_size=100, image_vocab_size=64, text_length=8, codes=9, layers=3, heads=2, head_size=8)
>>> prior = Prior(config)
>>> [layer.kind for layer in prior.layers]
['row', 'column', 'convolution']
>>> text_tokens = torch.tensor([[17, 4, 33, 103, 104, 105, 106, 107]])  # three words, then each position's padding
>>> image_codes = torch.arange(9)[None]  # 3 x 3
>>> text_logits, image_logits = prior(text_tokens, image_codes)
>>> text_logits.shape, image_logits.shape
(torch.Size([1, 8, 100]), torch.Size([1, 9, 64]))
>>> text, image = prior.losses(text_tokens, image_codes)  # nats a token; fresh weights guess
>>> round(image.item()), round(torch.tensor(64.0).log().item())
(4, 4)
"""

from dalle.prior.config import PriorConfig
from dalle.prior.files import load, save
from dalle.prior.network import Prior

__all__ = ["Prior", "PriorConfig", "load", "save"]
