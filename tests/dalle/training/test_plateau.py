"""The learning rate is halved when a loss has stopped falling, and never otherwise."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from dalle.training.plateau import Plateau, PlateauOptions

LOSSES = st.lists(st.floats(0.1, 10), max_size=60)
OPTIONS = st.builds(
    PlateauOptions,
    plateau_patience=st.integers(1, 6),
    plateau_min_delta=st.floats(0, 0.3),
    plateau_halvings=st.integers(0, 5),
)


@given(LOSSES, OPTIONS)
def test_it_halves_only_after_so_many_windows_without_a_lower_loss(
    losses: list[float], options: PlateauOptions
) -> None:
    """Each halving is preceded by `patience` windows of which none is below the lowest before them."""
    plateau, halved = Plateau(options), [-1]
    for number, loss in enumerate(losses):
        before = plateau.factor
        plateau.add(loss)
        assert plateau.factor in (before, before / 2)
        if plateau.factor < before:
            assert number - halved[-1] >= options.plateau_patience
            waited = losses[number + 1 - options.plateau_patience : number + 1]
            earlier = losses[: number + 1 - options.plateau_patience]
            assert earlier
            assert min(waited) >= min(earlier) * (1 - options.plateau_min_delta) * (1 - 1e-12)
            halved.append(number)
    assert len(halved) - 1 <= options.plateau_halvings


@given(st.lists(st.floats(0.8, 0.95), min_size=1, max_size=60))
def test_a_loss_that_falls_is_left_alone(ratios: list[float]) -> None:
    """However long it does."""
    plateau, loss = Plateau(PlateauOptions(plateau_patience=1, plateau_min_delta=0.04)), 1.0
    for ratio in ratios:
        loss *= ratio
        plateau.add(loss)
    assert 1.0 == plateau.factor


@given(LOSSES, LOSSES, OPTIONS)
def test_it_goes_on_from_its_state(first: list[float], then: list[float], options: PlateauOptions) -> None:
    """As JSON, at any moment."""
    one, other = Plateau(options), Plateau(options)
    for loss in first:
        one.add(loss)
    other.load_state_dict(json.loads(json.dumps(one.state_dict(), allow_nan=False)))
    for loss in then:
        one.add(loss)
        other.add(loss)
        assert one.factor == other.factor


def test_a_plateau_is_halved_as_often_as_is_said() -> None:
    """Five times and no more, as in the paper: a 32nd of the peak."""
    plateau = Plateau(PlateauOptions())
    for _ in range(100):
        plateau.add(1.0)
    assert 1 / 32 == plateau.factor


def test_a_loss_that_is_no_number_has_not_fallen() -> None:
    """Neither first of all, where it would be the lowest for ever, nor later."""
    plateau = Plateau(PlateauOptions(plateau_patience=2))
    for loss in (math.nan, 4.0, math.nan, 3.0, math.inf, 2.9, 2.8):
        plateau.add(loss)
    assert 1.0 == plateau.factor
    for _ in range(2):
        plateau.add(math.nan)
    assert 0.5 == plateau.factor
