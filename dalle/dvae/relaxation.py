"""Codes that gradients can pass through: the gumbel-softmax relaxation (Ramesh et al. 2021, §2.1).

A code is drawn from q by adding Gumbel noise to its logits and taking the largest; here the largest is softened by a
temperature tau, which training lowers until next to nothing is left of the softness. Along with the weights comes
what they cost: the divergence of q from the uniform distribution over codes.

The positions are worked through a few at a time, noise, weights and gradients together, because 8,192 numbers at each
of a thousand positions fit no cache: a third of the time of the same in plain steps, and half of the memory.

Shapes: B pictures, K codes, h x w positions, N = B h w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Seed = tuple[int, ...]

POSITIONS = 8
"""Positions at a time on a processor: 256 KiB of float32 for each of a few steps."""


def relax(logits: Tensor, tau: float, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor]:
    """Relaxed one-hot codes and the divergence of their distribution from the uniform one.

    Args:
        logits: [B, K, h, w] of q(z | x).
        tau: temperature, above 0.
        seeds: one for each picture, so that its noise does not depend on who else is in the batch.

    Returns:
        z: [B, K, h, w], of the type of the logits, channels last; sums to 1 over K.
        kl: [B, h, w] float32; nats, from 0 (q is uniform) to ln K (q is sure).
    """
    batch, vocab_size, height, width = logits.shape
    flat = logits.permute(0, 2, 3, 1).reshape(-1, vocab_size)  # [N, K]
    z, kl = _Relax.apply(flat, tau, seeds)
    return z.view(batch, height, width, vocab_size).permute(0, 3, 1, 2), kl.view(batch, height, width)


def _noise(seed: Seed, device: torch.device) -> Callable[[int, int], Tensor]:
    """Numbers uniform in [0, 1): on a processor numpy draws them three times as fast as torch."""
    if device.type == "cpu":
        source = np.random.Generator(np.random.SFC64(seed))
        return lambda *shape: torch.from_numpy(source.random(shape, np.float32))
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator(device).manual_seed(state)
    return lambda *shape: torch.rand(shape, generator=generator, device=device)


class _Relax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: float, seeds: Sequence[Seed]) -> tuple[Tensor, Tensor]:
        z, kl = torch.empty_like(logits), logits.new_empty(len(logits), dtype=torch.float32)
        positions = len(logits) // len(seeds)  # of one picture
        step = min(positions, POSITIONS) if logits.device.type == "cpu" else positions
        for index, seed in enumerate(seeds):
            noise = _noise(seed, logits.device)
            for start in range(index * positions, (index + 1) * positions, step):
                part = slice(start, min(start + step, (index + 1) * positions))
                ln_q = logits[part].float().log_softmax(1)
                kl[part] = torch.linalg.vecdot(ln_q.exp(), ln_q)
                minus_gumbel = noise(*ln_q.shape).log_().neg_().log_()
                z[part] = ln_q.sub_(minus_gumbel).div_(tau).softmax(1)
        ctx.save_for_backward(logits, z)
        ctx.tau, ctx.step = tau, step
        return z, kl.add_(math.log(logits.shape[1]))

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_kl: Tensor) -> tuple[Tensor, None, None]:
        logits, z = ctx.saved_tensors
        grad = torch.empty_like(logits)
        for start in range(0, len(logits), ctx.step):
            part = slice(start, start + ctx.step)
            soft, slope = z[part].float(), grad_z[part].float()
            slope = slope - torch.linalg.vecdot(soft, slope)[:, None]
            through_z = slope.mul_(soft).div_(ctx.tau)  # not in `soft`, which may be the z that was handed out
            ln_q = logits[part].float().log_softmax(1)
            q = ln_q.exp()
            ln_q.sub_(torch.linalg.vecdot(q, ln_q)[:, None])
            grad[part] = through_z.addcmul_(q, ln_q.mul_(grad_kl[part, None]))
        return grad, None, None
