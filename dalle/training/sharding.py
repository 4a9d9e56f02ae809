"""A network of whose weights each process of a group holds a part (Ramesh et al. 2021, §2.5; Rajbhandari et al. 2020).

The processes form a grid: those of a row hold the weights together, a group of consecutive ranks, such as the GPUs of
one machine; those of a column hold the same part. The weights of a unit, which is a residual block, are gathered just
before it computes, those of the next one meanwhile, and dropped after it; on the way back likewise, and its gradient is
averaged over the group, of which each process keeps its part, with every portion of a batch: so gradients take a share
of the memory too. Over the columns they are averaged once a step, with the last portion.

All of that is torch's `fully_shard`. Here is what stands around it: which tensor is cut where, in which number format
weights are gathered, and plain tensors for the optimizer, the average and checkpoints, which so know nothing of shards.

    shards = Shards(network, units, ranks, torch.bfloat16)       # network may be on the meta device
    step = OptimizerStep(network, options, ranks, shards=shards)
    with shards.portion(last=True):
        loss(network(batch)).backward()                           # shards.parameters have their gradients now
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard

from dalle.training.checkpoint import like
from dalle.training.counted import count
from dalle.training.cuts import Cut, Cuts
from dalle.training.machine import give_back
from dalle.training.ranks import Ranks
from dalle.training.reduction import BufferPart, Compressor, mean
from dalle.training.sharded_units import fully_sharded, prefetch
from dalle.training.traffic import Traffic


class Shards:
    """Shards a network, and holds this process's part of it.

    Args:
        network: on the meta device, to be drawn by `dalle.training.sharded_start`, or with numbers that are the same on
            all processes; its weights are replaced by parts of them.
        units: modules of it whose weights are gathered and dropped together, in the order in which they compute; what
            is in none of them is gathered for the whole of a step.
        ranks: the processes, with their grid.
        dtype: what autocast computes in: weights of linear maps in the units travel in that format.
        stacked: what the names of weights end with that are so many linear maps, one above the other.
    """

    def __init__(
        self,
        network: nn.Module,
        units: Sequence[nn.Module],
        ranks: Ranks,
        dtype: torch.dtype,
        stacked: Mapping[str, int] | None = None,
    ) -> None:
        assert ranks.grid is not None
        if ranks.device.type == "cpu":
            give_back()
        self.network, self._ranks, self._grid = network, ranks, ranks.grid
        self.stacked = stacked or {}
        self._modules = fully_sharded([*units, network], ranks, dtype, tuple(self.stacked))
        prefetch(self._modules[:-1], explicitly=ranks.device.type == "cpu")
        if any(value.is_meta for value in network.parameters()):
            network.to_empty(device=ranks.device)
        self._sharded = dict(network.named_parameters())
        self.parameters = {
            name: nn.Parameter(_local(value), requires_grad=value.requires_grad)
            for name, value in self._sharded.items()
        }
        """This process's parts, by the names of the weights: plain tensors that share the memory of the shards."""
        self.cuts = {name: _cut(value, ranks) for name, value in self._sharded.items()}
        """Where they stand in the whole."""
        self.within, self.between = Traffic(), Traffic()
        """What this process sends within its group, and to other groups."""
        for module in self._modules:
            count(module, self.within)
        self._last = True
        self._compressor: Compressor = self._mean
        if self.replicas.size() > 1:
            for module in self._modules:
                module.set_all_reduce_hook(functools.partial(self._reduce, module))

    @property
    def group(self) -> dist.ProcessGroup:
        """The processes that hold the weights together with this one."""
        return self._grid.get_group("shard")

    @property
    def replicas(self) -> dist.ProcessGroup:
        """The processes of all groups that hold the same part as this one."""
        return self._grid.get_group("replicate")

    def reduce_by(self, compressor: Compressor) -> None:
        """Have the gradients of each unit averaged over the processes that hold the same parts by a compressor."""
        self._compressor = compressor

    @contextlib.contextmanager
    def portion(self, *, last: bool) -> Iterator[None]:
        """Gradients of the block, which is one portion of a batch, are added to those before; the last ends a step."""
        self._last = last
        yield
        if last:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the gradients of the shards to the plain parameters."""
        for name, value in self._sharded.items():
            gradient, value.grad = value.grad, None
            self.parameters[name].grad = None if gradient is None else _local(gradient)

    def _reduce(self, module: FSDPModule, gradient: Tensor) -> None:
        """Torch's hook: a unit's gradient of one portion is averaged over the group, and not yet over the columns."""
        if not self._last:
            return  # torch adds it to the part's gradient
        first, parts = 0, list[BufferPart]()
        for name, padded in self._layout(module):
            end, value = first + padded.numel(), self._sharded[name]
            if (before := value.grad) is not None:
                own = _local(before)
                gradient[first : first + own.numel()] += own.flatten()
                if own.is_cuda:
                    own.record_stream(torch.cuda.current_stream())  # its memory must not be given away before
                value.grad = None
            parts.append(BufferPart(name, tuple(padded)))
            first = end
        assert first == len(gradient), "a weight has no gradient, or torch orders them in another way"
        self._compressor(gradient, parts, self.replicas)

    def _mean(self, gradient: Tensor, parts: Sequence[BufferPart], group: dist.ProcessGroup) -> None:
        """The plain mean, counted as a ring sends it."""
        sent = 2 * (group.size() - 1) * gradient.nbytes // group.size()
        with self.between.sending(sent, gradient.device):
            mean(gradient, parts, group)

    def _layout(self, module: FSDPModule) -> list[tuple[str, torch.Size]]:
        """Names and padded sizes of a unit's parts in the order of its flat gradient, which torch tells nobody."""
        (group,) = module._get_fsdp_state()._fsdp_param_groups
        names = {id(value): name for name, value in self._sharded.items()}
        return [(names[id(each.sharded_param)], each.padded_sharded_param_size) for each in group.fsdp_params]

    def weights(self) -> dict[str, Tensor]:
        """This process's parts of the weights by name; to change them changes the network."""
        self.drop()
        return {name: value.detach() for name, value in self.parameters.items()}

    @torch.no_grad()
    def load(self, parts: Mapping[str, Tensor]) -> None:
        """Take other weights.

        Raises:
            ValueError: if a part has another shape.
            KeyError: if one is missing.
        """
        for name, value in self.weights().items():
            value.copy_(like(parts[name], value))

    def drop(self) -> None:
        """Forget what is gathered: after an evaluation, or when parts were changed by others than the optimizer."""
        for module in self._modules:
            module.reshard()

    def cuts_of(self, parameters: Sequence[nn.Parameter]) -> Cuts:
        """The cuts by name, and by the number that an optimizer gives to each of these."""
        names = {id(value): name for name, value in self.parameters.items()}
        cuts: dict[str | int, Cut] = {name: cut for name, cut in self.cuts.items()}  # noqa: C416  other keys follow
        cuts.update((number, self.cuts[names[id(value)]]) for number, value in enumerate(parameters))
        return cuts

    def total(self, values: Tensor) -> Tensor:
        """The sum over the group of what each process found in its part of the weights, wherever the tensor lies."""
        dist.all_reduce(values, group=self.group)
        return values

    def norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """The norm of all tensors of a kind, of which these are this process's parts."""
        return self.total(torch.nn.utils.get_total_norm(tensors).square()).sqrt()

    def whole(self, name: str, part: Tensor) -> Tensor:
        """A whole tensor that is cut as the weights of a name, from the parts of the group; asked for on all of it."""
        cut, group = self.cuts[name], self._grid["shard"]
        shape, stride = torch.Size(cut.shape), torch.empty(cut.shape, device="meta").stride()
        return DTensor.from_local(part, group, [Shard(cut.dim)], shape=shape, stride=stride).full_tensor()


def gathers(module: nn.Module, method: str) -> None:
    """Have another method of a sharded unit, or of the network, gather its weights, as `forward` does."""
    register_fsdp_forward_method(module, method)


def not_in_backward(module: nn.Module) -> None:
    """Do not gather the weights of a unit again on the way back, where its gradient does not need them: embeddings."""
    assert isinstance(module, FSDPModule)
    module.set_unshard_in_backward(False)


def _local(value: Tensor) -> Tensor:
    assert isinstance(value, DTensor)
    return value.to_local().detach()


def _cut(value: Tensor, ranks: Ranks) -> Cut:
    assert isinstance(value, DTensor)
    assert ranks.grid is not None
    (placement,) = value.placements
    assert isinstance(placement, Shard)
    group = ranks.grid["shard"]
    cut = Cut.of(tuple(value.shape), placement.dim, group.get_local_rank(), group.size())
    assert cut.part_shape == tuple(_local(value).shape)
    return cut
