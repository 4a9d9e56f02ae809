"""The scales that distances and scores are given on: which network, prepared how, in which batches.

- `tf`: FID by inception-2015-12-05, resized as --resize says, of every picture. IS of 1,008 classes without and with
  bias, of pictures that are shuffled by seed 2020.
- `dmgan`: FID by torchvision's network, resized twice, in whole batches of 50: what is beyond is dropped. IS of 1,008
  classes without bias, of pictures in the order given; on birds of 50 classes, shuffled, in whole batches of 64.
- `features`: a Fréchet distance of other features, which is no FID; no IS.

The paper gives its numbers on the second (Ramesh et al. 2021, §3), most others on the first; one cannot be turned into
the other. Source: MinfengZhu/DM-GAN@d515995, toshas/torch-fidelity 0.4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dalle.detectors import load_detector
from dalle.evaluation.features import Extractor
from dalle.evaluation.inception import FEATURES
from dalle.evaluation.inception_score import SHUFFLED, LastLayer
from dalle.evaluation.options import NetworkOptions
from dalle.evaluation.resizing import RESIZE
from dalle.evaluation.weights import KNOWN, Weights, load_weights, missing
from dalle.pictures.pixels import Pixels
from dalle.training import ranks

DMGAN_BATCH, BIRDS_BATCH = 50, 64


class InceptionFeatures:
    """One network, given pictures in one way.

    Args:
        weights: of the network.
        resize: a name of `RESIZE`.
        batch: pictures in a batch; always so many.
        device: where it runs.
    """

    dimension = FEATURES

    def __init__(self, weights: Weights, resize: str, *, batch: int = 50, device: str = "cpu") -> None:
        self.name = f"{weights.name}, resized as {resize}"
        self.fingerprint = f"inception-{weights.form.name}-{weights.sha256}-{resize}"
        self.batch = batch
        self._resize, self._device = RESIZE[resize], torch.device(device)
        self._network = weights.network.to(self._device).to(memory_format=torch.channels_last)

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """[3, 299, 299] float32."""
        return self._resize(pixels)

    @torch.inference_mode()
    def embed(self, prepared: np.ndarray) -> np.ndarray:
        """[batch, 3, 299, 299] to [batch, 2048]."""
        pixels = torch.from_numpy(prepared).to(self._device).to(memory_format=torch.channels_last)
        return self._network(pixels).cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class Score:
    """An Inception Score that belongs to a scale."""

    extractor: Extractor
    layer: LastLayer


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How pictures are judged."""

    name: str
    metric: str
    """What its distance is called."""
    extractor: Extractor
    whole_batches_of: int = 1
    scores: tuple[Score, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen, for outputs and for statistics."""

    def counted(self, pictures: int) -> int:
        """How many of so many pictures it takes."""
        return pictures // self.whole_batches_of * self.whole_batches_of


def load_scales(options: NetworkOptions) -> list[Scale]:
    """The scales that are asked for, in their order.

    Raises:
        ValueError: if weights that one needs were not given, or are others than expected.
    """
    if options.features != "inception":
        if options.weights:
            raise ValueError("--weights are of Inception, and --features names another network; give one of the two")
        return [_of_detector(options.features)]
    given: dict[str, Weights] = {}
    for path in options.weights:
        weights = load_weights(path, options.weights_sha256)
        if weights.form.name in given:
            raise ValueError(f"--weights {path}: is the second file of the form {weights.form.name}; give one of each")
        given[weights.form.name] = weights
    make = {"tf": _tf, "dmgan": _dmgan}
    return [make[name](given, options) for name in options.scale]


def _tf(given: Mapping[str, Weights], options: NetworkOptions) -> Scale:
    if "tf" not in given:
        raise ValueError(missing("tf", "FID on the scale tf"))
    weights = given["tf"]
    extractor = _features(weights, options.resize, options)
    classes, bias = weights.classes.numpy(), weights.bias.numpy()
    layers = (
        LastLayer(name="without bias", weight=classes, shuffle_seed=SHUFFLED),
        LastLayer(name="with bias", weight=classes, bias=bias, shuffle_seed=SHUFFLED),
    )
    return Scale(
        name="tf",
        metric="FID",
        extractor=extractor,
        scores=tuple(Score(extractor=extractor, layer=layer) for layer in layers),
        choices={"scale": "tf", "resize": options.resize, **_said(weights)},
    )


def _dmgan(given: Mapping[str, Weights], options: NetworkOptions) -> Scale:
    if "torchvision" not in given:
        raise ValueError(missing("torchvision", "FID on the scale dmgan"))
    weights = given["torchvision"]
    scores = []
    if "tf" in given:
        layer = LastLayer(name="without bias", weight=given["tf"].classes.numpy())
        scores.append(Score(extractor=_features(given["tf"], "imresize", options), layer=layer))
    if "birds" in given:
        scores.append(Score(extractor=_features(given["birds"], "imresize-slim", options), layer=birds(given["birds"])))
    return Scale(
        name="dmgan",
        metric="FID (DM-GAN's scale)",
        extractor=_features(weights, "dm-gan", options),
        whole_batches_of=DMGAN_BATCH,
        scores=tuple(scores),
        choices={"scale": "dmgan", "resize": "dm-gan", **_said(weights)},
    )


def birds(weights: Weights) -> LastLayer:
    """The 50 classes of birds; the first of 51 is the background, which does not count."""
    first = len(weights.bias) - 50
    return LastLayer(
        name="birds, 50 classes",
        weight=weights.classes.numpy()[first:],
        bias=weights.bias.numpy()[first:],
        shuffle_seed=SHUFFLED,
        whole_batches_of=BIRDS_BATCH,
    )


def _features(weights: Weights, resize: str, options: NetworkOptions) -> InceptionFeatures:
    return InceptionFeatures(weights, resize, batch=options.batch_size, device=device_of(options))


def device_of(options: NetworkOptions) -> str:
    """Where networks compute.

    Raises:
        ValueError: if there is no such device.
    """
    return str(ranks.device_of(options.device))


def _of_detector(name: str) -> Scale:
    detector = load_detector(name)
    return Scale(
        name="features",
        metric=f"Fréchet distance of {name} features",
        extractor=detector,
        choices={"scale": "features", "features": name, "fingerprint": detector.fingerprint},
    )


def _said(weights: Weights) -> dict[str, Any]:
    return {
        "network": weights.form.name,
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "weights_known": weights.sha256 in KNOWN,
    }
