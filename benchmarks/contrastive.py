"""How fast are pictures scored beside the machine's own matrix products, and what does a small model of ours learn?

    python benchmarks/contrastive.py                          # both parts
    python benchmarks/contrastive.py --parts scoring --threads 1
    python benchmarks/contrastive.py --parts recall --steps 400

`scoring`: pictures of 256 x 256 through ViT-B/32 with random weights, in bfloat16: ours from their pixels on (resized,
cut, normalised), ours prepared before, and open_clip's own bfloat16 model prepared before, by all threads at once; in
turn, so that a disturbance meets all of them. The bar is a share of the product of two matrices of 1,024 x 1,024
(`dalle.training.products`), probed beside each turn; FLOP are counted by `dalle.contrastive.flops`, which the tests
hold to what torch counts. With `--threads 1` processor time is measured, which others' work disturbs least. Beside it
how far vectors are from those in float32.

`recall`: `dalle.train_contrastive tiny` on 4,000 drawn scenes, 64 x 64, with two captions each; of 100 pairs that it
never sees, how many pictures find their caption, and captions their picture. By chance it is one.

Writes `results/contrastive.json` beside this file.
"""

from dalle.training.machine import prepare

if __name__ == "__main__":
    prepare()  # before torch is imported, as the commands do it

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
import tyro
from open_clip.transform import PreprocessCfg
from record import record, spread

from dalle.contrastive.config import SizeOptions
from dalle.contrastive.flops import image_flops
from dalle.contrastive.reranker import PICTURES, ContrastiveModel, Reranker
from dalle.training.logs import read_log
from dalle.training.parallel import for_each
from dalle.training.products import product_flops

MODEL = "ViT-B-32"
BAR = 0.85
CPU = torch.device("cpu")
ROOT = Path(__file__).parent.parent


def scoring(repeats: int, pictures: int) -> dict[str, Any]:
    """Pictures a second, and the share of the machine's product that they are."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    drawn = [np.random.default_rng(n).integers(0, 256, (256, 256, 3), dtype=np.uint8) for n in range(pictures)]
    full, ours = (Reranker(model(), precision) for precision in ("float32", "bfloat16"))
    tower: Any = ours._network
    theirs = open_clip.create_model(MODEL, precision="bf16").eval()
    batches = torch.stack([ours.prepare(each) for each in drawn]).split(PICTURES)
    prepared = torch.cat(batches).bfloat16()
    runs: dict[str, Callable[[], object]] = {
        "ours, from pixels": lambda: ours.embed_pictures(drawn),
        "ours, prepared": lambda: for_each(tower.encode_image, batches, CPU),
        "open_clip, prepared": lambda: theirs.encode_image(prepared),
    }
    speeds, shares, products = {name: list[float]() for name in runs}, {name: list[float]() for name in runs}, []
    with torch.inference_mode():
        for turn in range(repeats + 1):
            for name, run in runs.items():
                before, begun = product_flops(CPU, torch.bfloat16, clock=clock), clock()
                run()
                seconds = clock() - begun
                product = (before + product_flops(CPU, torch.bfloat16, clock=clock)) / 2
                if turn:  # the first warms up
                    speeds[name].append(pictures / seconds)
                    shares[name].append(image_flops(SizeOptions()) * pictures / seconds / product)
                    products.append(product / 1e9)
    few = drawn[:PICTURES]
    return {
        "threads": torch.get_num_threads(),
        "pictures": pictures,
        "gflop_a_picture": round(image_flops(SizeOptions()) / 1e9, 2),
        "pictures_per_second": {name: spread(values, 1) for name, values in speeds.items()},
        "share_of_product": {name: spread(values, 3) for name, values in shares.items()},
        "expected_share": BAR,
        "product_gflops": spread(products, 0),
        "least_cosine_to_float32": float((full.embed_pictures(few) * ours.embed_pictures(few)).sum(1).min()),
    }


def model() -> ContrastiveModel:
    """ViT-B/32 with the same random weights each time."""
    torch.manual_seed(0)
    network = open_clip.create_model(MODEL).eval()
    preparation = PreprocessCfg(**open_clip.get_model_preprocess_cfg(network))
    return ContrastiveModel(MODEL, "random", network, preparation, open_clip.get_tokenizer(MODEL))


def learning(steps: int, scenes: int) -> dict[str, Any]:
    """Recall of held-out pairs after so many steps, by the command itself."""
    from tests.examples import write_scenes

    with tempfile.TemporaryDirectory() as place:
        folder = write_scenes(Path(place) / "clean", (1_000,) * (scenes // 1_000))
        out = Path(place) / "model"
        command = [sys.executable, "-m", "dalle.train_contrastive", "tiny", "--input_folder", folder, "--device", "cpu"]
        command += ["--output_folder", str(out), "--patch_size", "8", "--batch_size", "64", "--workers", "1"]
        for flag in ("--steps", "--decay_steps"):
            command += [flag, str(steps)]
        begun = time.monotonic()
        subprocess.run([*command, "--eval_every", str(max(1, steps // 4))], cwd=ROOT, check=True)
        seconds = time.monotonic() - begun
        lines = [line for line in read_log(out) if "recall_image_to_text" in line]
    return {
        "scenes": scenes,
        "steps": steps,
        "seconds": round(seconds),
        "recall_at_1_among_100": {
            int(line["step"]): [line["recall_image_to_text"], line["recall_text_to_image"]] for line in lines
        },
        "by_chance": 0.01,
    }


def main(
    parts: tuple[Literal["scoring", "recall"], ...] = ("scoring", "recall"),
    repeats: int = 7,
    pictures: int = 64,
    threads: int = 2,
    steps: int = 400,
    scenes: int = 4_000,
) -> None:
    """Measure the parts that are asked for."""
    torch.set_num_threads(threads)
    figures: dict[str, Any] = {}
    if "scoring" in parts:
        figures["scoring"] = scoring(repeats, pictures)
    if "recall" in parts:
        figures["recall"] = learning(steps, scenes)
    record("contrastive", figures, ["torch", "open_clip_torch", "numpy", "pillow"])


if __name__ == "__main__":
    tyro.cli(main)
