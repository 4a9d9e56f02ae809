"""The likelihood of pixels against numeric integration."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.dvae.logit_laplace import logit_laplace_loss, map_pixels, reconstruct, unmap_pixels

LOCATIONS = st.floats(-3, 3)
LOG_SCALES = st.floats(-3, 1)


def density(points: torch.Tensor, mu: float, ln_b: float) -> torch.Tensor:
    """exp(-loss) of single pixels, [N] in (0, 1)."""
    images = points.view(-1, 1, 1, 1)
    return torch.exp(-logit_laplace_loss(torch.full_like(images, mu), torch.full_like(images, ln_b), images))


def grid(mu: float, ln_b: float) -> torch.Tensor:
    """Points from 0 to 1 that are evenly spaced before the logistic function, where the distribution is a Laplace."""
    reach = 30 * math.exp(ln_b)
    return torch.sigmoid(torch.linspace(mu - reach, mu + reach, 20_001, dtype=torch.float64)).clamp(1e-15, 1 - 1e-15)


@given(LOCATIONS, LOG_SCALES)
def test_the_density_integrates_to_one(mu: float, ln_b: float) -> None:
    points = grid(mu, ln_b)
    assert float(torch.trapezoid(density(points, mu, ln_b), points)) == pytest.approx(1, abs=2e-3)


@given(LOCATIONS, LOG_SCALES)
def test_half_of_the_probability_lies_below_the_reconstruction(mu: float, ln_b: float) -> None:
    """sigmoid(mu) is the median, which is why it stands for the pixel."""
    points = grid(mu, ln_b)
    points = points[points <= torch.sigmoid(torch.tensor(mu, dtype=torch.float64))]
    assert float(torch.trapezoid(density(points, mu, ln_b), points)) == pytest.approx(0.5, abs=2e-3)


@given(LOCATIONS, LOG_SCALES, st.floats(0.1, 0.9))
def test_the_loss_is_minus_the_log_of_the_papers_density(mu: float, ln_b: float, x: float) -> None:
    """App. A.3: f(x | mu, b) = exp(-|logit(x) - mu| / b) / (2 b x (1 - x)), in plain floats."""
    b = math.exp(ln_b)
    expected = math.exp(-abs(math.log(x / (1 - x)) - mu) / b) / (2 * b * x * (1 - x))
    assert float(density(torch.tensor([x], dtype=torch.float64), mu, ln_b)) == pytest.approx(expected, rel=1e-9)


def test_pictures_are_summed_up_each_on_its_own() -> None:
    mu, ln_b, pixels = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5) * 0.8 + 0.1
    loss = logit_laplace_loss(mu, ln_b, pixels)
    assert loss.shape == (2,)
    torch.testing.assert_close(logit_laplace_loss(mu[1:], ln_b[1:], pixels[1:]), loss[1:])
    single = [logit_laplace_loss(*(t[:1, c : c + 1] for t in (mu, ln_b, pixels))) for c in range(3)]
    torch.testing.assert_close(torch.stack(single).sum(0), loss[:1])


def test_a_pixel_without_density_is_refused() -> None:
    pixels = torch.full((1, 3, 2, 2), 0.5)
    pixels[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match=r"pixels go from 0.5 to 1, expected all of them between 0 and 1"):
        logit_laplace_loss(pixels, pixels, pixels)


def test_mapping_keeps_pixels_from_0_and_1_and_comes_back() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    mapped = map_pixels(every)
    assert (float(mapped.min()), float(mapped.max())) == pytest.approx((0.1, 0.9))
    assert torch.equal((unmap_pixels(mapped) * 255).round().to(torch.uint8), every)
    torch.testing.assert_close(map_pixels(every.float() / 255), mapped)
    torch.testing.assert_close(reconstruct(torch.logit(mapped)), every.float() / 255)
    assert float(unmap_pixels(torch.tensor(0.95))) == 1


def test_pixels_of_an_unclear_range_are_refused() -> None:
    with pytest.raises(TypeError, match=r"torch.int64, expected uint8"):
        map_pixels(torch.zeros(1, 3, 8, 8, dtype=torch.int64))
