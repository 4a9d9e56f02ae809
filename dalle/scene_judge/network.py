"""The judge's network: a small picture to a map of things, and the background.

A place of the map stands for 8 x 8 pixels. It says how likely a thing has its middle there, and which kind, colour and
size it has.

Shapes: B pictures, S side, G = S / 8.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, SIZES
from dalle.training.model_file import ModelKind, load_network
from dalle.training.tensor_file import write_tensors
from schemas.ranges import MOST_SIZE
from schemas.whole_file import whole_file

SHRINK = 8
"""Pixels on a side of a place."""
PARTS = (1, len(KINDS), len(COLOURS), len(SIZES))
"""Logits of a place: whether a thing has its middle there, its kind, colour and size."""
_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """The size of the network."""

    side: int = 64
    """Side of the pictures in pixels, a multiple of 8; others are resized to it."""
    width: int = 96
    """Channels where the map is made, a multiple of 32."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if not SHRINK <= self.side <= MOST_SIZE or self.side % SHRINK:
            raise ValueError(f"--side {self.side}: expected a multiple of {SHRINK}, at most {MOST_SIZE:,}")
        if not 32 <= self.width <= MOST_SIZE or self.width % 32:
            raise ValueError(f"--width {self.width}: expected a multiple of 32, at most {MOST_SIZE:,}")


class SceneJudge(nn.Module):
    """[B, 3, S, S] in [-1, 1] to logits of the map, [B, 27, G, G], and of the background, [B, 6]."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.layers = nn.Sequential(
            _layer(3, width // 4, 2), _layer(width // 4, width // 2, 2), _layer(width // 2, width // 2),
            _layer(width // 2, width, 2), _layer(width, width), _layer(width, width),
        )  # fmt: skip
        self.to_things = nn.Conv2d(width, sum(PARTS), 1)
        self.to_background = nn.Linear(width, len(BACKGROUNDS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Both logits, float32."""
        features = self.layers(pixels.contiguous(memory_format=torch.channels_last))
        with torch.autocast(pixels.device.type, enabled=False):
            features = features.float()
            return self.to_things(features), self.to_background(features.mean((2, 3)))


def _layer(channels: int, out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.GroupNorm(_GROUPS, out), nn.ReLU(inplace=True)
    )


def normalise(pictures: Tensor) -> Tensor:
    """[B, S, S, 3] uint8 to [B, 3, S, S] float32 in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


KIND = ModelKind("a judge that dalle.train_judge left", JudgeConfig, SceneJudge, lambda config: 6)


def save(judge: SceneJudge, path: Path) -> None:
    """Write the weights in half precision and the sizes to one safetensors file."""
    tensors = {name: value.half().contiguous() for name, value in judge.state_dict().items()}
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, tensors, {"config": json.dumps(asdict(judge.config))})


def load(path: str | Path) -> SceneJudge:
    """The judge from a file that `save` wrote.

    Raises:
        ValueError: if the file is not one of ours, or its weights are no numbers.
        OSError: if it is not there.
    """
    return load_network(path, KIND)
