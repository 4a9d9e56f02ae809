"""The optimizer's step: number formats, gradient clipping, AdamW that decays matrices only, the learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from dalle.training.adam import MOST_BETAS, ShortAdamW
from dalle.training.checkpoint import like
from dalle.training.gradient_scales import GradientScales
from dalle.training.one_scale import OneScale
from dalle.training.precision import has_fast_bfloat16
from dalle.training.ranks import Ranks
from dalle.training.scaling import Scaling
from dalle.training.schedules import LearningRate
from schemas.ranges import MOST_FLOAT, MOST_STEPS, Above, Below, Between, check_ranges

if TYPE_CHECKING:
    from dalle.training.compression import Compression
    from dalle.training.sharding import Shards

Precision = Literal["auto", "float32", "bfloat16", "float16", "float16_scaled"]
Moments = Literal["float32", "paper"]

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
    """Number format of the layers under autocast: float16 with one scale for all gradients, float16_scaled with one for
    each residual block of a prior; auto is float16 on CUDA, bfloat16 on processors that have it, float32 on others."""
    moments: Moments = "float32"
    """Number format of AdamW's two moments; paper keeps those of a prior's matrices in the paper's formats, two bytes
    each."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
        if self.moments == "paper" and any(beta > most for beta, most in zip(self.betas, MOST_BETAS, strict=True)):
            raise ValueError(
                f"--betas {self.betas[0]} {self.betas[1]}: with --moments paper expected at most {MOST_BETAS[0]:.6g} "
                f"and {MOST_BETAS[1]:.6g}, or moments in 16 bits would not decay; use --moments float32"
            )

    def schedule(self) -> LearningRate:
        """The learning rate of every step."""
        return LearningRate(
            peak=self.learning_rate,
            least=self.min_learning_rate,
            decay_steps=self.decay_steps,
            warmup_steps=self.warmup_steps,
        )


def adamw(
    parameters: Mapping[str, nn.Parameter], options: OptimizerOptions, blocks: Collection[str] = ()
) -> torch.optim.Optimizer:
    """AdamW over a network's weights: matrices and kernels are decayed; gains, norms and biases, one a channel, not.

    Args:
        parameters: the weights by name, or this process's parts of them.
        options: how they follow the gradients.
        blocks: names of residual blocks, whose matrices may have moments of 16 bits; all else has 32 (App. D.3).

    Raises:
        ValueError: if such moments are asked for and there are no blocks.
    """
    groups: dict[bool, dict[str, nn.Parameter]] = {True: {}, False: {}}
    for name, value in parameters.items():
        groups[value.ndim > 1 and value.shape[1:].numel() > 1][name] = value
    decayed = {"params": [*groups[True].values()], "weight_decay": options.weight_decay}
    others = {"params": [*groups[False].values()], "weight_decay": 0.0}
    if options.moments == "float32":
        return torch.optim.AdamW([decayed, others], lr=options.learning_rate, betas=options.betas, eps=1e-8, fused=True)
    if not blocks:
        raise ValueError("--moments paper is for the residual blocks of a prior; use --moments float32")
    stems = tuple(f"{block}." for block in blocks)
    short = {**decayed, "params": [v for name, v in groups[True].items() if name.startswith(stems)], "short": True}
    decayed["params"] = [v for name, v in groups[True].items() if not name.startswith(stems)]
    return ShortAdamW([short, decayed, others], lr=options.learning_rate, betas=options.betas)


def precision_on(device: torch.device, precision: Precision) -> torch.dtype:
    """The number format that layers compute in."""
    if precision == "auto":  # without instructions for it, products in bfloat16 take some fifty times as long
        precision = "float16" if device.type == "cuda" else "bfloat16" if has_fast_bfloat16() else "float32"
    dtype: torch.dtype = getattr(torch, precision.removesuffix("_scaled"))
    return dtype


class OptimizerStep:
    """Forward passes in 16 bits, scales for the gradients where float16 needs them, and the step of AdamW.

    A step whose gradients are not all finite changes neither weights nor moments, only scales: what a checkpoint holds
    after it is what it would hold if the step had not been tried, with lower scales.

    Args:
        network: on its device.
        options: learning rate, decay, clipping, number formats.
        ranks: the processes that train.
        blocks: residual blocks of the network by name, for scales and moments of their own (`gradient_scales`).
        shards: of the network, if this process holds parts of its weights; backward passes are then in its portions.

    Raises:
        ValueError: if the options are for residual blocks, and there are none.
    """

    def __init__(
        self,
        network: nn.Module,
        options: OptimizerOptions,
        ranks: Ranks,
        *,
        blocks: Mapping[str, nn.Module] | None = None,
        shards: Shards | None = None,
    ) -> None:
        self._device, self._clip, self._shards = ranks.device, options.grad_clip, shards
        self._dtype = precision_on(ranks.device, options.precision)
        self._schedule = options.schedule()
        self._named = dict(network.named_parameters()) if shards is None else shards.parameters
        self._optimizer = adamw(self._named, options, blocks or ())
        self.parameters: list[nn.Parameter] = [v for group in self._optimizer.param_groups for v in group["params"]]
        """What is changed, in the optimizer's order."""
        self._scaling = _scaling(self._named, blocks or {}, options.precision, self._dtype, ranks)
        self._compression: Compression | None = None
        self._owed: dict[str, Tensor] = {}
        self.drifts = False
        """Whether groups of processes have had other averages of the same gradients: their weights drift apart."""
        self.grad_norm = torch.zeros(())
        """Norm of all gradients of the last step together, before it was clipped; infinite if the step was skipped, 0
        where gradients are neither clipped nor scaled."""

    def compress(self, rank: int, seed: int, apart: Sequence[str]) -> Compression:
        """Average gradients between groups of processes with PowerSGD (`compression`); there must be `shards`.

        Args:
            rank: of the factors of a whole matrix.
            seed: of their directions.
            apart: what names begin with that are not compressed.

        Raises:
            ValueError: if the rank cannot be shared out among the processes of a group.
        """
        assert self._shards is not None
        from dalle.training.compression import Compression  # with torch's fully_shard, which takes a second to load

        self._compression = Compression(self._shards, self._scaling, rank, seed, apart)
        return self._compression

    @property
    def skips(self) -> bool:
        """Whether steps are skipped whose gradients are not all finite, as float16's now and then are not."""
        return self._scaling is not None or self._compression is not None

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The block inside which layers choose the shorter format."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        if self._scaling is not None:
            self._scaling.backward(loss)
        else:
            loss.backward()

    def __call__(self, step: int, factor: float = 1.0) -> float:
        """Change the weights, unless a gradient overflowed, and forget the gradients; gives the learning rate.

        Args:
            step: how many were done before.
            factor: the learning rate is so many times that of the schedule.
        """
        rate = factor * self._schedule(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self._has_gradients():
            if self._clip:
                torch.nn.utils.clip_grads_with_norm_(self.parameters, self._clip, self.grad_norm)
            self._optimizer.step()
        else:
            self.grad_norm = torch.full((), torch.inf)
        self._optimizer.zero_grad(set_to_none=True)
        return rate

    def _has_gradients(self) -> bool:
        """Make gradients the true ones, and find their norm; gives whether they are finite, if that is looked at."""
        if self._compression is not None:
            averaged = self._compression.settle()
            self.drifts |= not averaged.alike
            self.grad_norm = torch.tensor(averaged.norm, dtype=torch.float32)
            is_finite, has_norm = not averaged.skipped, not self._owed
        else:
            is_finite, has_norm = self._scaling is None or self._scaling.unscale(), False
        if is_finite:
            self._pay()
            if not has_norm and (self._clip or self.skips):
                gradients = [value.grad for value in self.parameters if value.grad is not None]
                norm = torch.nn.utils.get_total_norm if self._shards is None else self._shards.norm
                self.grad_norm = norm(gradients)
        return is_finite

    def _pay(self) -> None:
        """Add to the gradients what is owed of them since they were compressed, and are no more."""
        for name, owed in self._owed.items():
            gradient = self._named[name].grad
            assert gradient is not None
            gradient += like(owed, gradient)
        self._owed = {}

    def figures(self) -> dict[str, float]:
        """The scale of the gradients, or of each block's, where there are any."""
        return {} if self._scaling is None else self._scaling.figures()

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer and the scales, and what is owed of gradients; with compression all processes call it."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "scales": {} if self._scaling is None else self._scaling.state_dict(),
            "owed": {**self._owed, **({} if self._compression is None else self._compression.owed())},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the options of now."""
        options = [{name: group[name] for name in group if name != "params"} for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, kept in zip(self._optimizer.param_groups, options, strict=True):
            group.update(kept)
        for parameter, moments in self._optimizer.state.items():
            for name, value in moments.items():
                # how many steps were taken has no dimensions, and words are laid out already
                if isinstance(value, Tensor) and value.ndim and value.is_floating_point():
                    moments[name] = like(value, parameter)
        scales, owed = state.get("scales", {}), state.get("owed", {})  # of before there were any: none
        if self._scaling is not None and scales.keys() == self._scaling.state_dict().keys():
            self._scaling.load_state_dict(scales)  # with another --precision scales begin anew
        if self._compression is not None:
            owed = self._compression.owe(owed)
        self._owed = {name: like(value, self._named[name].detach()) for name, value in owed.items()}


def _scaling(
    parameters: Mapping[str, nn.Parameter],
    blocks: Mapping[str, nn.Module],
    precision: Precision,
    dtype: torch.dtype,
    ranks: Ranks,
) -> Scaling | None:
    """How gradients are scaled; None where their format needs no scale."""
    if precision == "float16_scaled":
        if not blocks:
            raise ValueError(
                "--precision float16_scaled is for the residual blocks of a prior; use --precision float16"
            )
        return GradientScales(parameters, blocks, ranks)
    return OneScale(parameters, ranks) if dtype == torch.float16 else None
