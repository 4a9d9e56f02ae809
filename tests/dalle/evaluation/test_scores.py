"""Inception Score and kernel distance: the numbers of torch-fidelity and of DM-GAN's few lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dalle.evaluation.extrapolation import extrapolate
from dalle.evaluation.fid import frechet_distance
from dalle.evaluation.inception_score import SHUFFLED, LastLayer, inception_score
from dalle.evaluation.kid import kernel_distance, squared_mmd
from dalle.evaluation.statistics import statistics_of


def features(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def layer(**more: object) -> LastLayer:
    rng = np.random.default_rng(9)
    weight, bias = rng.standard_normal((40, 32)).astype(np.float32), rng.standard_normal(40).astype(np.float32)
    return LastLayer(**{"name": "some", "weight": weight, "bias": bias, **more})


def dm_gans(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """As the paper's formula reads, split by split."""
    scores = []
    for part in np.array_split(probabilities, splits) if len(probabilities) % splits == 0 else ():
        divergence = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


@pytest.mark.parametrize("count", [10, 1003, 2500])
@pytest.mark.parametrize("bias", [True, False])
def test_shuffled_it_is_torch_fidelitys(count: int, bias: bool) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_isc", reason="pip install torch-fidelity")
    last = layer(shuffle_seed=SHUFFLED) if bias else layer(shuffle_seed=SHUFFLED, bias=None)
    values = features(count)
    expected = peer.isc_features_to_metric(torch.from_numpy(last.logits(values)).float())
    found = inception_score(values.__getitem__, count, last)
    assert expected["inception_score_mean"] == pytest.approx(found.mean, rel=1e-5)
    assert expected["inception_score_std"] == pytest.approx(found.std, rel=1e-3, abs=1e-6)


def test_as_given_it_is_dm_gans() -> None:
    """On COCO: no bias, the order of the pictures."""
    last, values = layer(bias=None), features(200)
    probabilities = torch.from_numpy(values @ last.weight.T).double().softmax(1).numpy()
    found = inception_score(values.__getitem__, 200, last)
    assert dm_gans(probabilities) == pytest.approx((found.mean, found.std), rel=1e-5)
    shuffled = inception_score(values.__getitem__, 200, layer(bias=None, shuffle_seed=SHUFFLED))
    assert found.mean != pytest.approx(shuffled.mean, rel=1e-5)


def test_whole_batches_only() -> None:
    """On birds: what is beyond the last batch of 64 is dropped, after shuffling."""
    values = features(210)
    found = inception_score(values.__getitem__, 210, layer(shuffle_seed=1, whole_batches_of=64))
    order = np.random.RandomState(1).permutation(210)[:192]
    assert inception_score(values[order].__getitem__, 192, layer()) == found


def test_bounds() -> None:
    """1 where all pictures are alike, the number of classes where each has one of its own."""
    last = LastLayer(name="some", weight=1000 * np.eye(8, dtype=np.float32))
    alike, all_classes = np.eye(8, dtype=np.float32)[[3] * 40], np.eye(8, dtype=np.float32)[list(range(8)) * 10]
    assert 1 == pytest.approx(inception_score(alike.__getitem__, 40, last).mean)
    assert 8 == pytest.approx(inception_score(all_classes.__getitem__, 80, last, splits=10).mean)
    with pytest.raises(ValueError, match="over 10 splits needs as many pictures, found 9"):
        inception_score(features(9, size=8).__getitem__, 9, last)


@pytest.mark.parametrize("size", [2, 50])
def test_kernel_distance_is_torch_fidelitys(size: int) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_kid", reason="pip install torch-fidelity")
    one, other = features(120, 1), 1.2 * features(90, 2)
    expected = peer.kid_features_to_metric(
        torch.from_numpy(one), torch.from_numpy(other), kid_subsets=20, kid_subset_size=size, verbose=False
    )
    found = kernel_distance((one.__getitem__, 120), (other.__getitem__, 90), subsets=20, size=size)
    assert expected["kernel_inception_distance_mean"] == pytest.approx(found.mean, rel=1e-4, abs=1e-6)
    assert expected["kernel_inception_distance_std"] == pytest.approx(found.std, rel=1e-4, abs=1e-6)


def test_kernel_distance_has_no_bias() -> None:
    """Of pairs of sets of ten alike pictures it is 0 on average, some above and some below."""
    found = [squared_mmd(features(10, 2 * seed), features(10, 2 * seed + 1)) for seed in range(300)]
    assert 0 == pytest.approx(np.mean(found), abs=4 * np.std(found) / np.sqrt(300))
    assert min(found) < 0 < max(found)


def test_a_line_is_continued() -> None:
    found = extrapolate(lambda share, _: 7 + 300 / (1000 * share), 1000, 0)
    assert 7 == pytest.approx(found.value, abs=0.1)
    assert 1000 == found.points[-1][0]
    assert extrapolate(lambda *_: 1.0, 3, 0) is None


def test_extrapolation_takes_away_the_bias() -> None:
    """Of two sets of one distribution, whose distance is 0: what is left is a tenth, and the seed decides the draws."""
    sides = [features(400, seed, 16) for seed in (1, 2)]

    def distance(share: float, rng: np.random.Generator) -> float:
        parts = [side[rng.choice(400, int(share * 400), replace=False)] for side in sides]
        return frechet_distance(*(statistics_of([part], 16, "part") for part in parts))

    found = extrapolate(distance, 400, 0)
    assert abs(found.value) < 0.3 * found.points[-1][1]
    assert found == extrapolate(distance, 400, 0)
