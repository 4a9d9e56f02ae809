"""Halving the learning rate when the loss has stopped falling (Ramesh et al. 2021, App. B.4).

The paper halves it on each plateau, five times, and does not say what a plateau is. Here a loss counts as fallen if the
mean over a window of steps is below the best of all windows before it by a relative difference; after so many windows
without that the rate is halved, and as many windows are waited for again.

    >>> plateau = Plateau(PlateauOptions(plateau_patience=2, plateau_min_delta=0.01))
    >>> for loss in (4.0, 3.0, 2.99, 2.98, 2.0, 2.0):
    ...     plateau.add(loss)
    >>> plateau.factor
    0.5
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.ranges import MOST_STEPS, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class PlateauOptions:
    """When the learning rate is halved; --decay_steps, a cosine, takes the place of all this."""

    plateau_on: Literal["training", "validation"] = "training"
    """Which loss has to stop falling: training, its mean over a window of steps, or validation, at each evaluation."""
    plateau_window: int = 1_000
    """Steps over which the training loss is averaged, 1 to 10^12."""
    plateau_patience: int = 5
    """Windows, or evaluations, without a lower loss after which the learning rate is halved, 1 to 10^12."""
    plateau_min_delta: float = 0.001
    """Relative difference by which a loss has to be below the lowest so far, 0 to 1."""
    plateau_halvings: int = 5
    """How often the learning rate is halved at most, 0 to 100."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self,
            {
                "plateau_window": Between(1, MOST_STEPS),
                "plateau_patience": Between(1, MOST_STEPS),
                "plateau_min_delta": Between(0, 1),
                "plateau_halvings": Between(0, 100),
            },
        )


class Plateau:
    """What the learning rate is multiplied by."""

    def __init__(self, options: PlateauOptions) -> None:
        self._options = options
        self._lowest: float | None = None
        self._waited = self._halvings = 0

    @property
    def factor(self) -> float:
        """1, a half, a quarter, ..."""
        return 0.5**self._halvings

    def add(self, loss: float) -> None:
        """Take in the loss of one more window; one that is no number has not fallen."""
        lowest = math.inf if self._lowest is None else self._lowest * (1 - self._options.plateau_min_delta)
        if loss < lowest:
            self._lowest, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited >= self._options.plateau_patience and self._halvings < self._options.plateau_halvings:
            self._halvings, self._waited = self._halvings + 1, 0

    def state_dict(self) -> dict[str, float | None]:
        """The lowest loss so far, the windows since then, and how often the rate was halved."""
        return {"lowest": self._lowest, "waited": self._waited, "halvings": self._halvings}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Go on from there."""
        lowest, waited, halvings = state["lowest"], state["waited"], state["halvings"]
        if waited is None or halvings is None:
            raise TypeError("the state of the learning rate is not whole")
        self._lowest, self._waited, self._halvings = lowest, int(waited), int(halvings)
