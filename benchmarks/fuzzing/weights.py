"""Files of weights, damaged: the smallest model of each kind, and a checkpoint."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.fuzzing.stored import outcome_of
from dalle.detectors import network as detector
from dalle.dvae import DVAE, DVAEConfig
from dalle.dvae import load as load_dvae
from dalle.dvae import save as save_dvae
from dalle.training import checkpoint


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """The smallest dVAE and detector, and a checkpoint."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        paths = Path(place, "dvae"), Path(place, "detector")
        save_dvae(
            DVAE(DVAEConfig(vocab_size=4, encoder_n_hid=4, decoder_n_hid=4, n_init=2, n_blk_per_group=1)), paths[0]
        )
        detector.save(
            detector.Detector(detector.DetectorConfig(side=16, widths=(32,), depths=(1,), neck=2, dimension=2)),
            paths[1],
        )
        tree = {"weights": torch.zeros(2, 3), "steps": 3, "more": [torch.ones(2, dtype=torch.int64), None, "x", 0.5]}
        return (*(path.read_bytes() for path in paths), checkpoint.save(Path(place), 3, tree).read_bytes())


def done_to(data: bytes) -> tuple[Any, bytes]:
    """Taken for each kind of model in turn."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "00000003.safetensors")
        path.write_bytes(data)
        outcomes = [outcome_of(lambda: load(path)) for load in (load_dvae, detector.load, checkpoint.load)]  # noqa: B023
    badly = next((outcome for outcome in outcomes if "badly" in outcome), "")
    return badly or ("read" if "read" in outcomes else "refused"), b""
