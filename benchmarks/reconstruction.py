"""How well does the shipped dVAE bring pictures back, and how many of its codes does it use?

    python benchmarks/reconstruction.py

Kodak photographs, centre squares at 256 x 256: PSNR and SSIM of the reconstruction from 32 x 32 codes of 13 bits
(1,664 bytes), beside JPEG at no more than as many bytes: of the whole file, of which headers and tables take a
third, and of the picture's data alone. Where even the lowest quality takes more, that one is shown and its size
said. COCO photographs: how many of the 8,192 codes are in use, and the share of codes that differ between float32
and bfloat16. Writes `results/reconstruction.json` and `.md` beside this file. Nothing here is ever trained on.
"""

import io
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from dalle.dvae.bf16 import BF16DVAE
from dalle.dvae.files import BUILTIN, load
from dalle.dvae.network import DVAE
from dalle.dvae.watching import perplexity
from dalle.evaluation.fidelity import psnr, ssim
from dalle.pictures.augment import cut, draw_crops
from dalle.pictures.folders import picture_files, read_picture

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
SIDE = 256
BYTES = (SIDE // 8) ** 2 * 13 // 8


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    dvae: Path = BUILTIN
    """Weights as `dalle.dvae.save` writes them."""
    results: Path = Path(__file__).parent / "results"
    """Where the figures go."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Means over pictures."""

    psnr: float
    ssim: float
    bytes: float


def reconstructed(dvae: DVAE, pixels: np.ndarray) -> np.ndarray:
    """Through codes and back, [H, W, 3] uint8."""
    codes = dvae.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return (dvae.decode(codes)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def jpeg(pixels: np.ndarray, count: Callable[[bytes], int]) -> tuple[np.ndarray, int]:
    """The best JPEG of at most `BYTES`, or the smallest, by the bytes that count; optimised tables, 4:2:0."""
    best = None
    for quality in range(1, 96):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
        if best is None or count(file.getvalue()) <= BYTES:
            best = file.getvalue()
        if count(file.getvalue()) > 2 * BYTES:
            break
    assert best is not None
    return np.asarray(Image.open(io.BytesIO(best))), count(best)


def data_only(file: bytes) -> int:
    """Bytes after the header of a JPEG's only scan."""
    start = file.index(b"\xff\xda")
    return len(file) - start - 2 - int.from_bytes(file[start + 2 : start + 4], "big")


def compare(dvae: DVAE) -> dict[str, list[Fidelity]]:
    """Every way's figures on each Kodak photograph."""
    fidelities: dict[str, list[Fidelity]] = {"dVAE": [], "JPEG, whole file": [], "JPEG, data only": []}
    for pixels in squares("kodak"):
        ways = {
            "dVAE": (reconstructed(dvae, pixels), BYTES),
            "JPEG, whole file": jpeg(pixels, len),
            "JPEG, data only": jpeg(pixels, data_only),
        }
        for way, (again, size) in ways.items():
            fidelities[way].append(Fidelity(psnr=psnr(pixels, again), ssim=ssim(pixels, again), bytes=size))
    return fidelities


def usage(dvae: DVAE) -> dict[str, float]:
    """Of the codes of the COCO photographs."""
    fast = BF16DVAE(dvae)
    counts = torch.zeros(dvae.config.vocab_size, dtype=torch.int64)
    positions = different = 0
    for pixels in squares("coco_val2017"):
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        codes = dvae.encode(image)
        counts += codes.flatten().bincount(minlength=len(counts))
        different += int((codes != fast.encode(image)).sum())
        positions += codes.numel()
    return {
        "places": positions,
        "codes_used": int((counts > 0).sum()),
        "codes_used_ten_times": int((counts >= 10).sum()),
        "perplexity": perplexity(counts),
        "differ_in_bfloat16": different / positions,
    }


def squares(name: str) -> Iterator[np.ndarray]:
    """Centre squares of a folder's pictures, [256, 256, 3]."""
    for file in picture_files(DATA / name):
        pixels = read_picture(file)
        (crop,) = draw_crops(*pixels.shape[:2], 1, np.random.default_rng(0), SIDE)
        yield cut(pixels, crop, SIDE)


def main(options: BenchmarkOptions) -> None:
    """Measure, print and write."""
    dvae = load(options.dvae)
    kodak = compare(dvae)
    means = {
        way: {k: float(np.mean([asdict(f)[k] for f in each])) for k in asdict(each[0])} for way, each in kodak.items()
    }
    used = usage(dvae)
    lines = ["| Kodak at 256 x 256 | bytes | PSNR, dB | SSIM |", "|---|---|---|---|"]
    lines += [f"| {way} | {m['bytes']:,.0f} | {m['psnr']:.2f} | {m['ssim']:.3f} |" for way, m in means.items()]
    lines += [
        "",
        f"COCO: {used['codes_used']:,.0f} of {dvae.config.vocab_size:,} codes in use over {used['places']:,.0f} "
        f"positions ({used['codes_used_ten_times']:,.0f} of them ten times or more), perplexity "
        f"{used['perplexity']:,.0f}; {used['differ_in_bfloat16']:.1%} of codes differ between float32 and bfloat16.",
    ]
    print("\n".join(lines))
    options.results.mkdir(exist_ok=True)
    (options.results / "reconstruction.md").write_text("\n".join(lines) + "\n")
    result = {
        "date": str(date.today()),
        "processor": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "opencv-python-headless")},
        "dvae": dvae.fingerprint(),
        "config": asdict(dvae.config),
        "kodak": means,
        "kodak_each": {way: [asdict(f) for f in each] for way, each in kodak.items()},
        "coco": used,
    }
    (options.results / "reconstruction.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(BenchmarkOptions))
