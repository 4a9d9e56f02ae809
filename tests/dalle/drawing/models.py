"""A prior and a dVAE so small that they draw at once: fresh weights, 4 x 4 codes of 32 x 32 pixels."""

from __future__ import annotations

from pathlib import Path

import torch

from dalle.dvae import DVAE, DVAEConfig
from dalle.dvae import save as save_dvae
from dalle.prior import Prior, PriorConfig, save
from dalle.text import tokenizer

CODES, WORDS = 16, tokenizer.load()


def write_models(folder: Path, *, seed: int = 0) -> Path:
    """`prior/model.safetensors` and, beside it, `dvae/model.safetensors`; gives the prior's folder."""
    torch.manual_seed(seed)
    dvae = DVAE(DVAEConfig(vocab_size=32, encoder_n_hid=8, decoder_n_hid=8, n_init=8, n_blk_per_group=1))
    config = PriorConfig(
        vocab_size=WORDS.vocab_size, image_vocab_size=32, text_length=16, codes=CODES, layers=3, heads=2, head_size=8
    )
    prior = Prior(config)
    with torch.no_grad():
        for weight in prior.parameters():
            weight.mul_(4)  # so that captions and earlier codes tell
    for name in ("prior", "dvae"):
        (folder / name).mkdir(parents=True)
    save_dvae(dvae, folder / "dvae/model.safetensors")
    made_for = {"vocabulary": WORDS.fingerprint, "dvae": load_fingerprint(folder)}
    save(prior, folder / "prior/model.safetensors", made_for)
    return folder / "prior"


def load_fingerprint(folder: Path) -> str:
    """Of the dVAE as it is read back, in half precision."""
    from dalle.dvae import load

    return load(folder / "dvae/model.safetensors").fingerprint()
