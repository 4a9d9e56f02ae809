"""The Fréchet distance as laws: real, finite, symmetric, 0 or more, the closed form on Gaussians, the peers' numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.evaluation.fid import frechet_distance, trace_of_root
from dalle.evaluation.statistics import Statistics, statistics_of

SIZES = st.integers(1, 24)
SEEDS = st.integers(0, 2**32 - 1)


def of(mu: np.ndarray, sigma: np.ndarray) -> Statistics:
    return Statistics(name="some", mu=mu, sigma=sigma)


def drawn(size: int, pictures: int, seed: int, scale: float = 1.0) -> Statistics:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((size, size))
    features = scale * rng.standard_normal((pictures, size)) @ mixing + rng.standard_normal(size)
    return statistics_of([features.astype(np.float32)], size, "drawn")


@given(size=SIZES, pictures=st.integers(2, 40), seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_real_and_finite_for_any_number_of_pictures(size: int, pictures: int, seed: int, scale: float) -> None:
    """Also for fewer than features, where the covariance is singular; the same both ways round; 0 of a set to itself."""
    one, other = drawn(size, pictures, seed, scale), drawn(size, pictures, seed + 1, scale)
    there, back = frechet_distance(one, other), frechet_distance(other, one)
    assert isinstance(there, float)
    assert np.isfinite(there)
    assert 0 <= there
    whole = float(np.trace(one.sigma) + np.trace(other.sigma) + one.mu @ one.mu + other.mu @ other.mu)
    assert there == pytest.approx(back, abs=1e-6 * whole)
    assert 0 == pytest.approx(frechet_distance(one, one), abs=1e-6 * whole)


@given(size=SIZES, seed=SEEDS, smallest=st.sampled_from([1.0, 1e-6, 1e-12, 0.0]))
def test_the_closed_form_of_commuting_gaussians(size: int, seed: int, smallest: float) -> None:
    """Of covariances with the same eigenvectors: sum of squared differences of the roots, near singular ones too."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((size, size)))[0]
    first, second = rng.uniform(0.1, 10, size), rng.uniform(0.1, 10, size)
    first[: size // 2] *= smallest
    second[size // 3 : size] *= smallest
    mu, nu = rng.standard_normal(size), rng.standard_normal(size)
    expected = float(((mu - nu) ** 2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum())
    found = frechet_distance(of(mu, turned * first @ turned.T), of(nu, turned * second @ turned.T))
    assert expected == pytest.approx(found, rel=1e-5, abs=1e-5)


@given(size=SIZES, seed=SEEDS)
def test_the_closed_form_of_any_gaussians(size: int, seed: int) -> None:
    """If S2 = A S1 A with a symmetric positive A, the root of S1 S2 has the trace of S1 A."""
    rng = np.random.default_rng(seed)
    mixing, other = rng.standard_normal((2, size, size))
    first = mixing @ mixing.T + 0.1 * np.eye(size)
    positive = other @ other.T + 0.1 * np.eye(size)
    assert np.trace(first @ positive) == pytest.approx(
        trace_of_root(of(np.zeros(size), first), of(np.zeros(size), positive @ first @ positive)), rel=1e-8
    )


@given(size=SIZES, pictures=st.tuples(st.integers(2, 40), st.integers(2, 40)), seed=SEEDS)
def test_features_and_their_covariances_give_the_same(size: int, pictures: tuple[int, int], seed: int) -> None:
    """Whether one side, both or none are few pictures whose features are at hand."""
    sides = [drawn(size, count, seed + i) for i, count in enumerate(pictures)]
    bare = [of(side.mu, side.sigma) for side in sides]
    scale = sum(float(np.trace(side.sigma)) for side in sides)
    expected = frechet_distance(*sides)
    for one, other in ((bare[0], bare[1]), (sides[0], bare[1]), (bare[0], sides[1])):
        assert expected == pytest.approx(frechet_distance(one, other), abs=1e-5 * scale)


@given(size=SIZES, seed=SEEDS, factor=st.floats(0.01, 100))
def test_it_scales_as_a_squared_distance(size: int, seed: int, factor: float) -> None:
    one, other = drawn(size, 50, seed), drawn(size, 50, seed + 1)
    scaled = [of(factor * s.mu, factor**2 * s.sigma) for s in (one, other)]
    assert factor**2 * frechet_distance(one, other) == pytest.approx(frechet_distance(*scaled), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("size", "pictures"), [(8, 100), (64, 500), (200, 900)])
def test_the_number_of_pytorch_fid(size: int, pictures: int) -> None:
    """Given the same features, within 1e-4."""
    peer = pytest.importorskip("pytorch_fid.fid_score", reason="pip install pytorch-fid")
    one, other = drawn(size, pictures, 0, 0.1), drawn(size, pictures, 1, 0.1)
    expected = peer.calculate_frechet_distance(one.mu, one.sigma, other.mu, other.sigma)
    assert expected == pytest.approx(frechet_distance(one, other), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("pictures", [2, 17, 120])
def test_the_number_of_torch_fidelity_for_few_pictures(pictures: int) -> None:
    """For fewer pictures than features, where the root of the product is not real any more."""
    peer = pytest.importorskip("torch_fidelity.metric_fid", reason="pip install torch-fidelity")
    one, other = drawn(128, pictures, 0, 0.1), drawn(128, pictures, 1, 0.1)
    stats = [{"mu": s.mu, "sigma": s.sigma} for s in (one, other)]
    expected = peer.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert expected == pytest.approx(frechet_distance(one, other), rel=1e-3)


def test_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has features of 8 numbers, .* of 9; both must be of one network"):
        frechet_distance(drawn(8, 9, 0), drawn(9, 9, 0))
