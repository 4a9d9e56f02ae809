"""Procedure E.2 once more, for all machines at once and in double precision, as it stands in the paper's words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dalle.training.formats import ONE_SIX_NINE
from dalle.training.words import SINGLE, Form


@dataclass
class Expected:
    """What every machine is to have after a step."""

    means: dict[str, Tensor]
    norm: float
    not_finite: list[str]


class Oracle:
    """Of one shard.

    Args:
        directions: by name of what is compressed, [longer side, rank].
        machines: how many.
        form: numbers are rounded to it where the paper keeps or sends them.
    """

    def __init__(self, directions: dict[str, Tensor], machines: int, form: Form) -> None:
        self.directions, self.form = directions, form
        self.buffers: list[dict[str, Tensor]] = [{} for _ in range(machines)]

    def step(self, gradients: list[dict[str, Tensor]]) -> Expected:
        found = Expected({}, 0.0, [])
        squares = 0.0
        for name in gradients[0]:
            given = [each[name] for each in gradients]
            if name in self.directions:
                fine, square = self._compressed(name, given, found)
            else:
                mean = torch.stack(given).double().mean(0)
                found.means[name] = mean.float()
                fine, square = bool(mean.isfinite().all()), float(mean.square().sum())
            squares += square
            if not fine:
                found.not_finite.append(name)
        found.norm = float("inf") if found.not_finite else squares**0.5
        return found

    def rounded(self, value: Tensor) -> Tensor:
        return self.form.decode(self.form.encode(value.float())).double()

    def average(self, values: list[Tensor], scale: float) -> tuple[Tensor, bool]:
        """Steps 4 and 7; and whether all was finite before it was clamped."""
        mean = self.rounded(torch.stack([self.rounded(value * scale) for value in values]).mean(0))
        fine = bool(mean.isfinite().all())
        return self.form.clamp(mean).nan_to_num(nan=0.0) / scale, fine

    def _compressed(self, name: str, given: list[Tensor], found: Expected) -> tuple[bool, float]:
        flags = True
        for buffer, value in zip(self.buffers, given, strict=True):  # 2
            before = buffer.get(name, torch.zeros(value.shape, dtype=torch.float64))
            buffer[name] = self.rounded(before + value) if value.isfinite().all() else before
            flags &= bool(value.isfinite().all() and buffer[name].isfinite().all())
        is_tall = given[0].shape[0] > given[0].shape[1]
        buffers = [buffer[name].T if is_tall else buffer[name] for buffer in self.buffers]
        directions = self.directions[name].double()
        # scales: whatever they are, a power of two changes nothing but what overflows; a norm of 1,024 is the bound
        most = 2.0**10 * (len(directions) ** 0.5 + 6)
        p_scale, q_scale = (1.0, 1.0) if self.form is SINGLE else (
            2.0 ** np.floor(np.log2(ONE_SIX_NINE.largest / most)), 2.0 ** np.floor(np.log2(ONE_SIX_NINE.largest / 2**10))
        )  # fmt: skip
        p, p_fine = self.average([buffer @ directions for buffer in buffers], p_scale)  # 3, 4
        greatest = float(p.abs().max())
        relative = p / 2.0 ** np.frexp(greatest)[1]
        basis = self.rounded(torch.from_numpy(np.linalg.qr((relative + 1e-6 * torch.eye(*p.shape)).numpy())[0]))  # 5
        q, q_fine = self.average([buffer.T @ basis for buffer in buffers], q_scale)  # 6, 7
        mean = basis @ q.T
        mean = mean.T if is_tall else mean
        found.means[name] = mean.float()
        for buffer in self.buffers:  # 12
            if p_fine and q_fine:
                buffer[name] = self.rounded(buffer[name] - mean)
            elif not buffer[name].isfinite().all():
                buffer[name] = torch.zeros_like(mean)
        return flags and p_fine and q_fine, float(q.square().sum())
