"""The dVAE on disk: our own file of weights, OpenAI's two as released, and the one that comes with the package.

    >>> dvae = load(BUILTIN)
    >>> f"{dvae.config.vocab_size:,} codes, fingerprint {dvae.fingerprint()[:8]}"
    '8,192 codes, fingerprint aa65cc5b'

Ours is one safetensors file: weights in half precision, the sizes as JSON in its metadata under `config`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from dalle.dvae.network import DVAE, GROUPS, Decoder, DVAEConfig, Encoder
from dalle.dvae.released import read_state_dict
from dalle.shipped import FILES
from dalle.training.model_file import ModelKind, fault_of_numbers, load_network
from dalle.training.tensor_file import write_tensors
from schemas.options import options_json
from schemas.whole_file import whole_file

BUILTIN = FILES["builtin", "dvae"]
"""The small dVAE that comes with the package."""
OPENAI_ENCODER = "https://cdn.openai.com/dall-e/encoder.pkl"
OPENAI_DECODER = "https://cdn.openai.com/dall-e/decoder.pkl"
"""The released one, 97.6 million weights in single precision."""


def save(dvae: DVAE, path: str | os.PathLike[str]) -> None:
    """Write the weights in half precision and the sizes to one safetensors file."""
    tensors = {name: value.half().contiguous() for name, value in dvae.state_dict().items()}
    with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, tensors, {"config": json.dumps(options_json(dvae.config))})


KIND = ModelKind(
    "a dVAE that dalle.dvae.save wrote",
    DVAEConfig,
    DVAE,
    lambda config: 2 * (1 if config.patches else GROUPS) * config.n_blk_per_group,
)


def load(path: str | os.PathLike[str] = BUILTIN) -> DVAE:
    """The dVAE from a file that `save` wrote.

    Raises:
        ValueError: if the file is not one of ours, or its weights are no numbers.
        OSError: if it is not there.
    """
    return load_network(os.fspath(path), KIND)


def load_released(path: str) -> Encoder | Decoder:
    """OpenAI's `encoder.pkl` or `decoder.pkl`, or a network of another size saved in the same way.

    Args:
        path: a file, or an address that fsspec opens. The pickle in it is read, never executed.

    Raises:
        ValueError: if it is no such network, or the pickle holds anything that a network does not need.
    """
    state = read_state_dict(path)
    sizes = {"n_blk_per_group": sum(name.startswith("blocks.group_1.") and name.endswith("conv_1.w") for name in state)}
    try:
        first, last = state["blocks.input.w"], state["blocks.output.conv.w"]
        network: Encoder | Decoder
        if first.shape[-1] == 1:
            sizes |= {"n_hid": last.shape[1], "n_init": first.shape[0], "vocab_size": first.shape[1]}
            network = Decoder(**sizes)
        else:
            network = Encoder(n_hid=first.shape[0], vocab_size=last.shape[0], **sizes)
        network.load_state_dict(state)
    except (KeyError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}: is not an encoder or decoder as released: {reason}") from None
    if fault := fault_of_numbers(state):
        raise ValueError(f"{path}: {fault}; fetch it again")
    return network.eval()


def join(encoder: Encoder, decoder: Decoder) -> DVAE:
    """The dVAE of two networks that were made for each other.

    Raises:
        ValueError: if their codes or depths differ.
    """
    sizes = (encoder.vocab_size, encoder.n_blk_per_group, decoder.vocab_size, decoder.n_blk_per_group)
    if sizes[:2] != sizes[2:]:
        raise ValueError(
            f"the encoder has {sizes[0]} codes and {sizes[1]} blocks a group, the decoder {sizes[2]} and {sizes[3]}; "
            "expected two networks that were trained together"
        )
    config = DVAEConfig(
        vocab_size=encoder.vocab_size,
        encoder_n_hid=encoder.n_hid,
        decoder_n_hid=decoder.n_hid,
        n_init=decoder.n_init,
        n_blk_per_group=encoder.n_blk_per_group,
    )
    with torch.device("meta"):
        dvae = DVAE(config)
    dvae.encoder, dvae.decoder = encoder, decoder
    return dvae.eval()
