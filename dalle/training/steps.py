"""The optimizer's step: number formats, gradient clipping, AdamW that decays matrices only, the learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dalle.training.checkpoint import like
from dalle.training.schedules import LearningRate
from schemas.ranges import MOST_FLOAT, MOST_STEPS, Above, Below, Between, check_ranges

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_RANGES = {
    "learning_rate": Above(0, MOST_FLOAT),
    "min_learning_rate": Between(0, MOST_FLOAT),
    "decay_steps": Between(0, MOST_STEPS),
    "warmup_steps": Between(0, MOST_STEPS),
    "weight_decay": Between(0, MOST_FLOAT),
    "grad_clip": Between(0, MOST_FLOAT),
    "betas": Below(0, 1),
}


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """How the weights follow the gradients."""

    learning_rate: float = 1e-3
    """Learning rate of AdamW at its peak, above 0."""
    min_learning_rate: float = 0.0
    """Learning rate at the end of the decay, 0 or more."""
    decay_steps: int = 0
    """Steps over which the learning rate falls along half a cosine; 0 keeps it at its peak."""
    warmup_steps: int = 0
    """Steps over which the learning rate first rises from 0."""
    weight_decay: float = 0.0
    """Weight decay of AdamW on matrices and convolution kernels; gains, norms and biases are not decayed."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's first and second moments, each from 0 to below 1."""
    grad_clip: float = 0.0
    """Largest norm of all gradients together; longer ones are scaled down to it. 0 does not clip."""
    precision: Precision = "auto"
    """Number format of the layers under autocast; auto is float16 with loss scaling on CUDA, bfloat16 elsewhere."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)

    def schedule(self) -> LearningRate:
        """The learning rate of every step."""
        return LearningRate(
            peak=self.learning_rate,
            least=self.min_learning_rate,
            decay_steps=self.decay_steps,
            warmup_steps=self.warmup_steps,
        )


def adamw(network: nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """AdamW over a network's weights: matrices and kernels are decayed; gains, norms and biases, one a channel, not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for value in network.parameters():
        groups[value.ndim > 1 and value.shape[1:].numel() > 1].append(value)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": options.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        betas=options.betas,
        eps=1e-8,
        fused=True,
    )


def precision_on(device: torch.device, precision: Precision) -> torch.dtype:
    """The number format that layers compute in.

    Raises:
        ValueError: if it is for another device.
    """
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "bfloat16"
    if precision == "float16" and device.type != "cuda":
        raise ValueError(f"float16 is for CUDA, the device is {device}; use --precision bfloat16 or float32")
    return getattr(torch, precision)


class OptimizerStep:
    """Forward passes in 16 bits, one loss scale for all gradients where float16 needs it, and the step of AdamW.

    Args:
        network: on its device.
        options: learning rate, decay, clipping, number format.
        device: where it computes.
    """

    def __init__(self, network: nn.Module, options: OptimizerOptions, device: torch.device) -> None:
        self._device, self._clip = device, options.grad_clip
        self._dtype = precision_on(device, options.precision)
        self._schedule = options.schedule()
        self._optimizer = adamw(network, options)
        self._parameters = [value for group in self._optimizer.param_groups for value in group["params"]]
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self.grad_norm = torch.zeros(())
        """Norm of all gradients of the last step together, before it was clipped; 0 where none is."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The block inside which layers choose the shorter format."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        self._scaler.scale(loss).backward()

    def __call__(self, step: int, factor: float = 1.0) -> float:
        """Change the weights, unless a gradient overflowed, and forget the gradients; gives the learning rate.

        Args:
            step: how many were done before.
            factor: the learning rate is so many times that of the schedule.
        """
        rate = factor * self._schedule(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self._clip:
            self._scaler.unscale_(self._optimizer)
            self.grad_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return rate

    def figures(self) -> dict[str, float]:
        """The loss scale, where there is one."""
        return {"loss_scale": self._scaler.get_scale()} if self._scaler.is_enabled() else {}

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer and the loss scale."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the options of now."""
        options = [{name: group[name] for name in group if name != "params"} for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, kept in zip(self._optimizer.param_groups, options, strict=True):
            group.update(kept)
        for parameter, moments in self._optimizer.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.ndim:  # how many steps were taken has no dimensions
                    moments[name] = like(value, parameter)
        if state["scaler"]:
            self._scaler.load_state_dict(dict(state["scaler"]))
