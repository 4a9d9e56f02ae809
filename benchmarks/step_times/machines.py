"""Machines of GPUs as rates: what makers publish of them, and which part of it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.step_times.moved import phases
from benchmarks.step_times.times import Link, Rates
from dalle.training.bandwidth import GradientShape

KINDS = ("row", "column", "convolution", "dense", "mlp")
BYTES_OF_UPDATE = 4 * 2 + 4 * 4 + 4
"""Of AdamW for each weight: weight and both moments read and written, the gradient read, single precision."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Several GPUs that have a fast network among them, and a slower one to others."""

    gpus: int = 8
    tflops: float = 125.0
    """Of a GPU in 16 bits, at its peak."""
    tflops_single: float = 15.7
    """In single precision, at its peak: logits, and PowerSGD's products."""
    reached: float = 0.31
    """Share of the first that residual blocks reach where nothing is sent."""
    within: float = 150.0
    """GB a second that a GPU sends to others of its machine, at the peak."""
    between: float = 12.5
    """GB a second that a machine sends to others, at the peak; its GPUs share it."""
    memory: float = 900.0
    """GB a second of a GPU's memory, at the peak."""
    sustained: float = 0.8
    """Share of single-precision products, networks and memory that is reached."""
    latency: float = 30e-6
    """Seconds of a call, whatever is sent."""
    qr_tflops: float = 0.1
    """Of the QR of tall matrices: a small share of the peak, for one column waits for another."""

    @property
    def rates(self) -> Rates:
        """Of one GPU, all others at work."""
        blocks, sustained = 1e12 * self.tflops * self.reached, 1e9 * self.sustained
        within = Link(latency=self.latency, bandwidth=sustained * self.within)
        between = Link(latency=self.latency, bandwidth=sustained * self.between / self.gpus)
        return Rates(
            forward={**dict.fromkeys(KINDS, blocks), "outputs": 1e3 * sustained * self.tflops_single},
            backward=dict.fromkeys(KINDS, blocks),
            links={"gather": within, "reduce": within, "words": between, "single": between, "mean": between},
            copied=sustained * self.memory / 2,
            stolen=0.0,
            updated=sustained * self.memory / BYTES_OF_UPDATE,
            compressing=self._compressing,
        )

    def _compressing(self, matrices: Sequence[GradientShape], rank: int) -> tuple[float, float, float]:
        """Its three products in single precision, the QR of P, and all else as operators move it through memory."""
        numbers = sum(matrix.numel for matrix in matrices)
        flops = sum(2 * matrix.numel * min(rank, *matrix.matrix) for matrix in matrices)
        product = flops / (1e12 * self.sustained * self.tflops_single)
        sides = [(min(matrix.matrix), min(rank, *matrix.matrix)) for matrix in matrices]
        qr = sum(4 * side * own**2 - 4 * own**3 / 3 for side, own in sides) / (1e12 * self.qr_tflops)
        memory = [each * numbers / (1e9 * self.sustained * self.memory) for each in phases().moved]
        return memory[0] + product, memory[1] + product + qr, memory[2] + product


V100 = Machine()
"""The paper's, 8 V100 of 16 GB each, 128 of them. It does not say how they are connected: taken is what was on offer
for such machines then, six NVLinks of the second generation, 300 GB/s in both directions, and 100 Gbit/s between
machines (Azure NDv2). 125 and 15.7 TFLOP/s are the maker's; 31 % is what Megatron-LM (Shoeybi et al. 2019) reports of a
single V100, 39 TFLOP/s of 125."""
H100 = Machine(
    tflops=989.0, tflops_single=67.0, reached=0.45, within=450.0, between=400.0, memory=3_350.0, qr_tflops=0.2
)
"""8 H100 SXM: 900 GB/s of NVLink in both directions, 8 times 400 Gbit/s between machines (DGX H100, Azure NDv5). 45 %
is about what trainings with 16 bits report on them (Megatron-Core: up to 47 %), sending included."""
ETHERNET = Machine(
    tflops=989.0, tflops_single=67.0, reached=0.45, within=450.0, between=12.5, memory=3_350.0, qr_tflops=0.2
)
"""The same GPUs with 100 Gbit/s between machines, as cheaper offers have it."""
MACHINES = {"8 V100, 100 Gbit/s": V100, "8 H100, 3,200 Gbit/s": H100, "8 H100, 100 Gbit/s": ETHERNET}
