"""One gradient matrix as PowerSGD keeps and sends it: its error buffer and its two factors, on one process.

What one call gives travels, and the next takes its mean over the machines: `projected` gives P, `orthogonalize` takes
it, `weighed` gives Q, `decompress` takes it. Nothing here knows of other processes.

A tall matrix is transposed, so that the factor to be made orthogonal is that of the shorter side (App. E.2).

    >>> from dalle.training.words import SINGLE
    >>> matrix = LowRankMatrix((3, 4), rank=3, key=(0,), form=SINGLE)
    >>> gradient = torch.arange(12.0).view(3, 4)
    >>> matrix.add(gradient)
    >>> matrix.orthogonalize(matrix.projected())
    >>> torch.allclose(matrix.decompress(matrix.weighed()), gradient, atol=1e-4)     # rank 3 is all there is
    True
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dalle.training.orthogonal import orthogonalized
from dalle.training.words import Form

MOST_NORM = 2.0**10
"""No gradient matrix of this Frobenius norm or less overflows P or Q: 256 times what the paper clips all of them to."""
_LONGEST = 6
"""A column of n standard normal numbers is longer than sqrt(n) + 6 once in 10^8 draws."""


class LowRankMatrix:
    """A gradient's error buffer, in which gradients are accumulated, and what is sent of it.

    P and Q are sent times powers of two that follow from the shape alone, so that they are the same everywhere and at
    all times: P's entries are at most the gradient's norm times the length of a column of the directions, Q's at most
    the norm, and with a norm of `MOST_NORM` neither may pass the format's largest number. A power of two costs no bits,
    and 1-6-9 still has full precision 45 powers of two or more below the largest.

    Args:
        shape: rows and columns of the gradient; neither is 0.
        rank: columns of the factors, if no side is shorter.
        key: decides the directions; the same on all machines.
        form: of the buffer, the directions and the factors.

    Attributes:
        errors: [rows, columns] words of the error buffer, finite between steps.
        directions: [longer side, rank] words, standard normal, never changed after: the paper found them as good as
            those of a warm start, and new ones each step much worse.
        is_finite: of the last step, whether the gradient and the buffer were, on this process; 0-dim bool.
        was_sent: of the last step, whether the factors were finite on all machines; 0-dim bool.
        squared_norm: of the last step's decompressed gradient, from Q alone, for P is orthonormal; 0-dim float64.
    """

    def __init__(self, shape: tuple[int, int], rank: int, key: Sequence[int], form: Form) -> None:
        shorter, longer = sorted(shape)
        self._form, self._is_tall = form, shape[0] > shape[1]
        self.rank = min(rank, shorter)
        drawn = np.random.default_rng(list(key)).standard_normal((longer, self.rank), np.float32)
        self.directions = form.encode(torch.from_numpy(drawn))
        self.errors = form.encode(torch.zeros(shape))
        self._projected_scale = _scale(MOST_NORM * (math.sqrt(longer) + _LONGEST), form)
        self._weighed_scale = _scale(MOST_NORM, form)
        self._basis = form.encode(torch.zeros(shorter, self.rank))
        self._values: Tensor | None = None
        self.is_finite = self.was_sent = torch.tensor(True)
        self.squared_norm = torch.zeros((), dtype=torch.float64)

    def add(self, gradient: Tensor) -> None:
        """Add a gradient to the buffer, unless some of it is not finite: then it is left out (step 2).

        Args:
            gradient: as large as the matrix, of any shape and format; not scaled any more. The buffer follows it to
                its device. Until `decompress` a contiguous one in float32 holds the buffer's numbers, for decoding
                them each time would take longer than the products.
        """
        if self.errors.device != gradient.device:
            self._move(gradient.device)
        given = gradient.detach().reshape(self.errors.shape).float()
        is_finite = given.isfinite().all()
        words = self._form.encode(self._form.decode(self.errors) + given)
        self.errors = torch.where(is_finite, words, self.errors)
        self._values = given.copy_(self._form.decode(self.errors))
        self.is_finite = is_finite & self._values.isfinite().all()

    def projected(self) -> Tensor:
        """[shorter side, rank] words of P, the buffer times the directions (step 3)."""
        return self._form.encode(self._wide() @ self._form.decode(self.directions) * self._projected_scale)

    def orthogonalize(self, projected: Tensor) -> None:
        """Make the columns of P's mean over the machines orthonormal (the end of step 4, and step 5).

        The identity's epsilon is meant beside entries of about 1: the paper's constants bring P there. Here P is
        divided by the power of two next to its greatest entry, so epsilon is as small beside the tiny gradients of late
        layers as beside those of early ones.
        """
        self.was_sent, values = self._received(projected)
        _, exponent = torch.frexp(values.abs().max())
        self._basis = self._form.encode(orthogonalized(torch.ldexp(values, -exponent)))

    def weighed(self) -> Tensor:
        """[longer side, rank] words of Q, the buffer transposed times the orthonormal columns (step 6)."""
        return self._form.encode(self._wide().mT @ self._form.decode(self._basis) * self._weighed_scale)

    def decompress(self, weighed: Tensor) -> Tensor:
        """The mean gradient that Q's mean stands for, which is taken out of the buffer (steps 7, 11 and 12).

        Where P or Q was not finite on some machine the buffer is kept, and zeroed only where it is not finite itself.

        Returns:
            [rows, columns] float32, finite.
        """
        is_finite, values = self._received(weighed)
        self.was_sent = self.was_sent & is_finite
        values = values / self._weighed_scale
        self.squared_norm = torch.linalg.vector_norm(values, dtype=torch.float64) ** 2
        wide = self._form.decode(self._basis) @ values.mT
        sent = wide.mT.contiguous() if self._is_tall else wide
        before, self._values = self._values, None
        assert before is not None
        after = torch.where(self.was_sent, before - sent, before)
        kept = torch.where(before.isfinite().all(), after.clamp(-self._form.largest, self._form.largest), 0.0)
        self.errors = self._form.encode(kept)
        return sent

    def _received(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Whether numbers from the network are finite, and numbers that are, infinities clamped as in the paper."""
        values = self._form.decode(words)
        clamped = self._form.clamp(values)
        return values.isfinite().all(), torch.where(clamped.isnan(), 0.0, clamped)

    def _wide(self) -> Tensor:
        assert self._values is not None, "nothing was added"
        return self._values.mT if self._is_tall else self._values

    def _move(self, device: torch.device) -> None:
        self.errors, self.directions, self._basis = (
            words.to(device) for words in (self.errors, self.directions, self._basis)
        )


def _scale(most: float, form: Form) -> float:
    """The greatest power of two, up to 1, times which a number is at most the format's largest."""
    return min(1.0, 2.0 ** math.floor(math.log2(form.largest / most)))
