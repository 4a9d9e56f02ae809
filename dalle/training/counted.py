"""What `fully_shard` sends within a group of processes, as it sends it, but counted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter

from dalle.training.traffic import Traffic


def count(module: FSDPModule, traffic: Traffic) -> None:
    """Tell of all that is sent for a unit, as rings send it.

    Weights are gathered while something else is computed, so that only their bytes are told where that is asked for.
    """
    module.set_custom_all_gather(_AllGather(traffic))
    module.set_custom_reduce_scatter(_ReduceScatter(traffic))


class _AllGather(DefaultAllGather):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, async_op: bool = False
    ) -> dist.Work | None:
        sent = (group.size() - 1) * input_tensor.nbytes
        if async_op:
            self._traffic.add(sent)
            return super().__call__(output_tensor, input_tensor, group, async_op)
        with self._traffic.sending(sent, input_tensor.device):
            return super().__call__(output_tensor, input_tensor, group, async_op)


class _ReduceScatter(DefaultReduceScatter):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: dist.ReduceOp | dist.ReduceOp.RedOpType | torch._C._distributed_c10d.ReduceOp,
        async_op: bool = False,
    ) -> dist.Work | None:
        with self._traffic.sending((group.size() - 1) * output_tensor.nbytes, input_tensor.device):
            return super().__call__(output_tensor, input_tensor, group, op, async_op)
