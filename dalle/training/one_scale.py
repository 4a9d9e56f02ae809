"""One scale for all gradients, as float16 is trained with everywhere (Micikevicius et al. 2018).

The rule is that of torch's `GradScaler`: 2^16 at first, halved after an update with a gradient that is not finite,
doubled after 2,000 good ones in a row. Its own code finds overflows on one process, and only in gradients that still
have the scale; here they may be in parts on many, or have been averaged in another way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dalle.training.ranks import Ranks
from dalle.training.scaling import Scaling

START, GROWS_AFTER = 16, 2_000
"""log2 of the first scale; good updates in a row after which it is doubled."""
LEAST, MOST = -126, 127
"""log2 of the smallest and the largest scale that float32 holds, with its inverse."""


class OneScale(Scaling):
    """The scale of all gradients; arguments as of `Scaling`."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], ranks: Ranks) -> None:
        super().__init__(parameters, (), ranks)
        self._log2, self._good = START, 0

    @property
    def scale(self) -> float:
        """What the loss is multiplied by."""
        return 2.0**self._log2

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients; see `Scaling.backward`."""
        (loss * self.scale).backward()

    def factors(self) -> Tensor:
        """[1] float32."""
        return torch.tensor([1 / self.scale], device=self._ranks.device)

    def update(self, overflowed: Tensor) -> None:
        """Halve it, or count a good update; see `Scaling.update`."""
        self._good = 0 if bool(overflowed.any()) else self._good + 1
        if not self._good:
            self._log2 = max(self._log2 - 1, LEAST)
        elif self._good == GROWS_AFTER:
            self._log2, self._good = min(self._log2 + 1, MOST), 0

    def figures(self) -> dict[str, float]:
        """The scale."""
        return {"loss_scale": self.scale}

    def state_dict(self) -> dict[str, Any]:
        """log2 of the scale, and good updates since it changed."""
        return {"log2": self._log2, "good": self._good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._log2, self._good = min(max(int(state["log2"]), LEAST), MOST), int(state["good"])
