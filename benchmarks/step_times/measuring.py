"""All rates of a run, measured by as many processes as it has: see `rates`.

torchrun --nproc_per_node 4 -m benchmarks.step_times.measuring RUN.json    # prints a line of JSON
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from benchmarks.step_times.rates import (
    Measured,
    PhaseRates,
    block_seconds,
    compressing,
    largest,
    links,
    outputs_seconds,
    seconds_of,
    stolen_seconds,
)
from benchmarks.step_times.times import Link, Rates
from benchmarks.step_times.units import units_of
from dalle.training.machine import give_back
from dalle.training.products import product_flops
from dalle.training.ranks import joined


def measure(measured: Measured) -> dict[str, Any]:
    """On every process of the run, together; a dict that `rates_of` reads."""
    give_back()  # as processes do that hold weights together
    config, examples = measured.config, measured.work.examples
    with joined("cpu", measured.layout.shard) as ranks:
        _, blocks, outputs = units_of(config, 2)
        flops = {unit.kind: examples * unit.flops for unit in blocks}
        seconds = {kind: block_seconds(config, kind, examples) for kind in flops}
        some = torch.randn(largest(measured))
        weight = torch.nn.Parameter(torch.randn(len(some)))
        weight.grad = gradient = torch.randn(len(some))
        adamw = torch.optim.AdamW([weight], fused=True)

        def update() -> None:
            torch.nn.utils.clip_grads_with_norm_([weight], 4.0, torch.nn.utils.get_total_norm([gradient]))
            adamw.step()

        forward = {kind: flops[kind] / there for kind, (there, _) in seconds.items()}
        forward["outputs"] = 3 * examples * outputs.flops / outputs_seconds(config, examples)
        return {
            "forward": forward,
            "backward": {kind: 2 * flops[kind] / back for kind, (_, back) in seconds.items()},
            "links": {name: dataclasses.asdict(link) for name, link in links(measured, ranks).items()},
            "copied": some.nbytes / seconds_of(some.clone),
            "stolen": stolen_seconds(measured, ranks),
            "updated": len(some) / seconds_of(update),
            "compressing": compressing(measured).seconds,
            "product": product_flops(torch.device("cpu"), torch.bfloat16),
            "product_single": product_flops(torch.device("cpu"), torch.float32),
        }


def rates_of(found: dict[str, Any]) -> Rates:
    """Of what `measure` gave."""
    return Rates(
        forward=found["forward"],
        backward=found["backward"],
        links={name: Link(**link) for name, link in found["links"].items()},
        copied=found["copied"],
        stolen=found["stolen"],
        updated=found["updated"],
        compressing=PhaseRates(seconds=tuple(found["compressing"])),
    )


def by_products_alone(found: dict[str, Any]) -> Rates:
    """As if all computed at the rate of large products."""
    kinds = found["forward"]
    return dataclasses.replace(
        rates_of(found),
        forward={kind: found["product_single" if kind == "outputs" else "product"] for kind in kinds},
        backward=dict.fromkeys(kinds, found["product"]),
    )
