"""Does a prior learn more of drawn scenes than simple models, is it the same after 20 kills, is its plan right?

    python benchmarks/prior_proof.py

`learns`: 5,000 scenes, drawn at 256 x 256 and shrunk to 96 x 96 pixels, with a caption each; the codes, 12 x 12, of a
dVAE that `dalle.train_dvae tiny` trains on them; then `dalle.train_prior small` with six layers, 32 text tokens, for at
most 20 minutes. Its loss of the examples that are held out, beside that of unigram and interpolated bigram models that
are fitted on the others, as it prints them, and the share of its time that it waited for data.

`kills`: a smaller training on the same examples, killed with SIGKILL 20 times wherever it is and begun again with
another number of workers each time; whether its weights are, bit for bit, those of one that nobody disturbed.

`plan`: what `--plan` says of `small` on this machine, memory and seconds a step, beside what is then measured, with 256
text tokens and 32 x 32 codes of random examples.

Writes `results/prior_proof.json` beside this file.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
import pyarrow as pa
import torch
import tyro

from benchmarks.record import record
from dalle.dvae.image_encoders import load_encoder
from dalle.scenes import compose, describe, draw
from dalle.training.logs import read_log
from schemas.examples import examples_schema
from schemas.manifest import WEIGHTS
from tests.examples import WORDS, write_dataset

DRAWN, SIDE, OF_SHARD, BATCH = 256, 96, 1_000, 50
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class ProofOptions:
    """How much is tried."""

    parts: tuple[Literal["learns", "kills", "plan"], ...] = ("learns", "kills", "plan")
    """Parts of the proof."""
    scenes: int = 5_000
    """Scenes that are drawn."""
    steps: int = 400
    """Steps of the training, of 32 examples each."""
    kills: int = 20
    """How often the other training is killed."""
    name: str = "prior_proof"
    """Of the file of results."""


def train(module: str, *flags: object) -> list[str]:
    """The command of a training."""
    return [sys.executable, "-m", f"dalle.{module}", *(str(flag) for flag in flags)]


def drawn(folder: Path, scenes: int) -> list[str]:
    """Pictures in a folder; gives their captions."""
    folder.mkdir()
    captions = []
    for seed in range(scenes):
        scene = compose(seed, DRAWN, DRAWN)
        pixels = cv2.resize(draw(scene)[:, :, ::-1], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{seed:05d}.png"), pixels)
        captions.append(describe(scene)[0])
    return captions


def encoded(pictures: Path, dvae: Path, captions: list[str], folder: Path) -> None:
    """A dataset of examples, as `pipelines.encode` leaves it, but of small grids."""
    encoder = load_encoder(str(dvae), "bf16")
    grids = []
    for first in range(0, len(captions), BATCH):
        names = [pictures / f"{seed:05d}.png" for seed in range(first, min(first + BATCH, len(captions)))]
        pixels = np.stack([cv2.imread(str(name))[:, :, ::-1] for name in names])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        grids.append(encoder.encode(images).flatten(1))
    write(folder, captions, torch.cat(grids), encoder.vocab_size, encoder.fingerprint())


def write(folder: Path, captions: list[str], grids: torch.Tensor, image_vocab_size: int, dvae: str) -> None:
    """A dataset of examples; grids are [n, codes]."""

    def rows(shard: int, count: int) -> pa.Table:
        these = range(shard * OF_SHARD, shard * OF_SHARD + count)
        names = [f"{index:05d}" for index in these]
        columns = {
            "key": names,
            "uid": [hashlib.sha256(name.encode()).hexdigest()[:32] for name in names],
            "captions": [[captions[index]] for index in these],
            "text_tokens": [[WORDS.encode(captions[index])] for index in these],
            "image_codes": [[grids[index].tolist()] for index in these],
            "crop_boxes": [[[0.0, 0.0, float(SIDE), float(SIDE)]]] * count,
        }
        return pa.table(columns, schema=examples_schema(grids.shape[1]))

    counts = [min(OF_SHARD, len(captions) - first) for first in range(0, len(captions), OF_SHARD)]
    write_dataset(
        folder, counts, dvae=dvae, codes=grids.shape[1], image_vocab_size=image_vocab_size, rows=rows, lineage=[]
    )


def learns(examples: Path, folder: Path, options: ProofOptions) -> dict[str, Any]:
    """Losses after the training, seconds, and what it waited for."""
    flags = ["--layers", 6, "--heads", 4, "--text_length", 32, "--steps", options.steps, "--decay_steps", options.steps]
    flags += ["--learning_rate", 2e-3, "--min_learning_rate", 2e-5, "--warmup_steps", 100, "--micro_batch_size", 8]
    flags += ["--eval_every", 250, "--allow_undeduplicated", "--input_folder", examples, "--output_folder", folder]
    begun = time.monotonic()
    run = subprocess.run(train("train_prior", "small", *flags), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - begun
    print(run.stdout)
    lines = [line for line in read_log(folder) if "loss" in line]
    evaluations = [line for line in read_log(folder) if "validation_loss" in line]
    said = next(line.strip() for line in reversed(run.stdout.splitlines()) if line.startswith("  held out: loss"))
    waited = sorted(line["waiting_for_data"] for line in lines[1:])
    return {
        "seconds": round(seconds, 1),
        "at_the_end": said,
        "validation": [{k: v for k, v in line.items() if "validation" in k or k == "step"} for line in evaluations],
        "waiting_for_data": {"median": waited[len(waited) // 2], "max": waited[-1], "expected": "below 0.02"},
    }


def kills(examples: Path, folder: Path, options: ProofOptions) -> dict[str, Any]:
    """Whether the weights are the same."""
    flags = ["--text_length", 32, "--steps", 400, "--log_every", 5, "--save_every", 3, "--eval_every", 50]
    flags += ["--decay_steps", 400, "--allow_undeduplicated", "--input_folder", examples]
    subprocess.run(train("train_prior", "tiny", *flags, "--output_folder", folder / "whole"), cwd=ROOT, check=True)
    rng, done, starts = np.random.default_rng(0), 0, 0
    while not (folder / "killed" / "manifest.json").exists():
        workers = ["--workers", starts % 3]
        command = train("train_prior", "tiny", *flags, *workers, "--output_folder", folder / "killed")
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as process:
            starts += 1
            if done < options.kills:
                try:
                    process.wait(_seconds_until_it_trains(folder / "killed", process) + rng.uniform(0, 2.0))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    done += 1
            process.wait()
    whole, killed = (hashlib.sha256((folder / name / WEIGHTS).read_bytes()) for name in ("whole", "killed"))
    return {"kills": done, "starts": starts, "same_weights": whole.digest() == killed.digest()}


def _seconds_until_it_trains(folder: Path, process: subprocess.Popen) -> float:
    """Waits for its log to grow, or for its end; 0."""
    log = folder / "log.jsonl"
    before = log.stat().st_mtime_ns if log.exists() else 0
    while process.poll() is None and (not log.exists() or log.stat().st_mtime_ns == before):
        time.sleep(0.02)
    return 0.0


def planned(_: Path, folder: Path, __: ProofOptions) -> dict[str, Any]:
    """Gigabytes of a process and seconds a step, as they are said and as they are."""
    rng = np.random.default_rng(0)
    grids = torch.from_numpy(rng.integers(0, 8_192, (400, 1_024)))
    captions = [" ".join(["a scene of many things"] * 30) + f" {i}" for i in range(len(grids))]
    write(folder / "examples", captions, grids, 8_192, "d" * 64)
    flags = ["--input_folder", folder / "examples", "--allow_undeduplicated", "--batch_size", 4, "--steps", 24]
    flags += ["--output_folder", folder / "prior", "--log_every", 4, "--eval_every", 12, "--eval_examples", 8]
    plan = subprocess.run(train("train_prior", "small", *flags, "--plan"), cwd=ROOT, capture_output=True, text=True)
    print(plan.stdout)
    memory = re.search(r"memory of each process: ([\d.,]+) GB", plan.stdout)
    seconds = re.search(r"recomputed; ([\d.]+) s|FLOP; ([\d.]+) s", plan.stdout)
    assert memory
    assert seconds
    process = subprocess.Popen(train("train_prior", "small", *flags), cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)  # the process alone, not those that read ahead
    assert status == 0
    speeds = [line["tokens_per_second"] for line in read_log(folder / "prior") if "loss" in line]
    said = {"gigabytes": float(memory[1]), "seconds_a_step": float(seconds[1] or seconds[2])}
    found = {"gigabytes": 1024 * usage.ru_maxrss / 1e9, "seconds_a_step": 4 * 1_280 / statistics.median(speeds[1:])}
    return {
        "said": said,
        "found": {name: round(value, 3) for name, value in found.items()},
        "said_of_found": {name: round(said[name] / found[name], 3) for name in said},
        "expected": {"gigabytes": "0.9 to 1.1", "seconds_a_step": "0.8 to 1.2"},
    }


def main(options: ProofOptions) -> None:
    """Draw, train, print and write."""
    figures: dict[str, Any] = {"scenes": options.scenes}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        captions = drawn(folder / "pictures", options.scenes)
        flags = ["--images", folder / "pictures", "--output_folder", folder / "dvae", "--eval_every", 0]
        subprocess.run(train("train_dvae", "tiny", *flags), cwd=ROOT, check=True)
        encoded(folder / "pictures", folder / "dvae", captions, folder / "examples")
        parts = {"learns": learns, "kills": kills, "plan": planned}
        for name in options.parts:
            figures[name] = parts[name](folder / "examples", folder / name, options)
    record(options.name, figures, ["torch"])


if __name__ == "__main__":
    main(tyro.cli(ProofOptions))
