"""Steps of real trainings with several processes, and what the simulation says of them beforehand."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.record import spread
from benchmarks.step_times.measuring import by_products_alone, rates_of
from benchmarks.step_times.schedule import Overlap, Simulated, simulate
from benchmarks.step_times.times import Rates, times_of
from benchmarks.step_times.units import Layout, Work, sent_bytes
from dalle.prior.config import PriorConfig
from dalle.prior.options import PRESETS, ExampleOptions, ShardOptions, TrainPriorOptions
from dalle.training.logs import read_log
from schemas.examples import examples_schema
from tests.examples import WORDS, write_dataset

ROOT = Path(__file__).parent.parent.parent
EXAMPLES, PICTURE_WORDS = 32, 8_192
QUIET = 0.1
"""Share of the processors that work of normal priority may have."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How much is computed for each weight."""

    text_length: int
    side: int

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.text_length + self.side**2:,} positions"


@dataclass(frozen=True, kw_only=True)
class RealRun:
    """A training that is measured."""

    layout: Layout
    work: Work
    lengths: Lengths
    layers: int

    @property
    def name(self) -> str:
        """Flags that tell it from others."""
        rank = f" --powersgd_rank {self.layout.rank}" if self.layout.rank else ""
        portions = f", {self.work.portions} portions" if self.work.portions > 1 else ""
        again = "" if self.work.recompute == "none" else f" --recompute {self.work.recompute}"
        return f"{self.layout.processes} processes --shard {self.layout.shard}{rank}{again}{portions}"

    @property
    def config(self) -> PriorConfig:
        """Of `small`, with fewer layers."""
        codes = self.lengths.side**2
        return PriorConfig(layers=self.layers, heads=8, text_length=self.lengths.text_length, codes=codes)


def write_examples(folder: Path, lengths: Lengths, times: int = 60) -> str:
    """Random codes, with captions of a phrase so many times: 60 fill the text, and what is padding has no logits."""
    codes = lengths.side**2
    grids = np.random.default_rng(0).integers(0, PICTURE_WORDS, (EXAMPLES, codes)).tolist()

    def rows(shard: int, count: int) -> pa.Table:
        captions = [[" ".join(["a scene of many things"] * times) + f" {i}"] for i in range(count)]
        return pa.table(
            {
                "key": [f"{shard:05d}{row:03d}" for row in range(count)],
                "uid": [f"{row:032x}" for row in range(count)],
                "captions": captions,
                "text_tokens": [[WORDS.encode(some[0])[:256]] for some in captions],
                "image_codes": [[grid] for grid in grids[:count]],
                "crop_boxes": [[[0.0, 0.0, 256.0, 256.0]]] * count,
            },
            schema=examples_schema(codes),
        )

    return str(write_dataset(folder, (EXAMPLES,), rows=rows, codes=codes, image_vocab_size=PICTURE_WORDS))


def options_of(run: RealRun, examples: str, out: Path, steps: int) -> TrainPriorOptions:
    """As flags of `dalle.train_prior small` would make them."""
    small, work, layout = PRESETS["small"][1], run.work, run.layout
    batch = layout.processes * work.examples * work.portions
    loop = replace(small.loop, output_folder=out, batch_size=batch, steps=steps, log_every=1, eval_every=0)
    return replace(
        small,
        examples=ExampleOptions(
            input_folder=examples, text_length=run.lengths.text_length, validation_share=0, workers=0, bpe_dropout=0
        ),
        loop=replace(loop, device="cpu"),
        optimizer=replace(small.optimizer, precision="bfloat16"),
        size=replace(small.size, layers=run.layers),
        sharding=ShardOptions(shard=layout.shard, powersgd_rank=layout.rank),
        micro_batch_size=work.examples,
        recompute=work.recompute,
    )


def found_in(run: RealRun, out: Path) -> dict[str, Any]:
    """Seconds of each step but the first, bytes that the first process sent in one, and its share of communication."""
    lines = [line for line in read_log(out) if "loss" in line][1:]
    batch = run.layout.processes * run.work.examples * run.work.portions
    return {
        "seconds": [batch / line["samples_per_second"] * (1 - line["waiting_for_data"]) for line in lines],
        "within": lines[-1]["bytes_sent/within_group"],
        "between": lines[-1]["bytes_sent/between_groups"],
        "share": statistics.median(line["share_of_communication"] for line in lines),
    }


@dataclass(frozen=True)
class Processors:
    """Seconds since the machine began."""

    passed: float
    """Of all processors."""
    busy: float
    preferred: float
    """Of them, of processes of normal priority: others, if this program is run with `nice`."""
    own: float
    """Of processes that this program has ended."""

    @classmethod
    def now(cls) -> Processors:
        """As the system tells it."""
        user, nice, system, idle, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
        ticks, own = os.sysconf("SC_CLK_TCK"), resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = user + nice + system
        return cls((busy + idle) / ticks, busy / ticks, user / ticks, own.ru_utime + own.ru_stime)

    def shares(self, before: Processors) -> tuple[float, float]:
        """What all others took of the processors, and those of normal priority."""
        passed = self.passed - before.passed
        others = self.busy - before.busy - (self.own - before.own)
        return round(max(0.0, others) / passed, 3), round((self.preferred - before.preferred) / passed, 3)


def wait_for_quiet(seconds: float) -> None:
    """Until processes of normal priority take less than a tenth of the processors; for so many seconds at most."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = Processors.now()
        time.sleep(min(3.0, seconds))
        if Processors.now().shares(before)[1] < QUIET:
            return


def check(run: RealRun, examples: str, out: Path, steps: int) -> dict[str, Any]:
    """Rates, a training, and rates again, for the machine may do other things as well; and what they say of a step."""
    before = Processors.now()
    words = [sys.executable, "-m", "benchmarks.step_times.together", str(out), examples, str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, json.dumps(asdict(run))], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    others, preferred = Processors.now().shares(before)
    rates, found = json.loads(done.stdout.splitlines()[-1]), found_in(run, out)
    median, sent = statistics.median(found["seconds"]), sent_bytes(run.config, run.work, run.layout)

    def said(of: Callable[[dict[str, Any]], Rates], overlap: Overlap) -> list[Simulated]:
        return [simulate(times_of(run.config, run.work, run.layout, of(some)), overlap) for some in rates]

    both = said(rates_of, "gathers")
    seconds = statistics.mean(each.seconds for each in both)
    share = statistics.mean(each.share_of_communication for each in both)
    return {
        "run": run.name,
        "lengths": run.lengths.name,
        "processors_of_others": {"all": others, "of_normal_priority": preferred},
        "found_seconds": spread(found["seconds"], 3),
        "said_seconds": round(seconds, 3),
        "said_by_rates_before_and_after": [round(each.seconds, 3) for each in both],
        "said_of_found": round(seconds / median, 3),
        "said_without_overlap": round(statistics.mean(each.seconds for each in said(rates_of, "none")), 3),
        "said_by_products_alone": round(
            statistics.mean(each.seconds for each in said(by_products_alone, "gathers")), 3
        ),
        "share_of_communication": {"said": round(share, 3), "found": round(found["share"], 3)},
        "bytes_within_group": {"said": sent[0], "found": found["within"]},
        "bytes_between_groups": {"said": sent[1], "found": found["between"]},
        "rates_before_and_after": rates,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """For a page."""
    lines = [
        "| length | processes | others | found, s (least to most) | said, s | said / found | without overlap | "
        "by products |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        found = row["found_seconds"]
        lines.append(
            f"| {row['lengths']} | {row['run']} | {100 * row['processors_of_others']['all']:.0f} % | "
            f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f}) | "
            f"{row['said_seconds']:.2f} | {row['said_of_found']:.2f} | {row['said_without_overlap']:.2f} | "
            f"{row['said_by_products_alone']:.2f} |"
        )
    return "\n".join(lines)
