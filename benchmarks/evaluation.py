"""Are our numbers those of pytorch-fid and torch-fidelity, and how fast is the Fréchet distance?

    python benchmarks/evaluation.py --pictures 500
    python benchmarks/evaluation.py --pictures 0        # the distance alone, a minute

Half of the pictures are samples, half references: photographs, cut to squares and stored as PNG. Weights cannot be had
here, so all networks read one file of random ones with the names and shapes of the real file; each peer loads it by its
own code and goes through the folders by its own command. Then the distance of 2,048 features of 3,000 pictures, and of
250, by ours and by pytorch-fid's square root, in turn. Needs pytorch-fid and torch-fidelity. Writes
`results/evaluation.json` beside this file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import record, spread
from dalle import evaluate
from dalle.evaluation.fid import frechet_distance
from dalle.evaluation.scales import InceptionFeatures
from dalle.evaluation.statistics import Statistics, statistics_of
from dalle.evaluation.weights import load_weights
from tests.dalle.evaluation.inception_files import random_weights, write_weights

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
SIDE, BATCH, SOME = 200, 25, 25


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    pictures: int = 500
    """Of both sides together; 0 leaves the networks out."""
    repeats: int = 3
    """Of each distance."""
    threads: int = 1
    """Of torch."""


def squares(folder: Path, kind: str, count: int) -> Path:
    """A folder of PNGs."""
    folder.mkdir()
    for path in sorted((DATA / kind).glob("*.jpg"))[:count]:
        with Image.open(path) as image:
            left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
            image.convert("RGB").crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{path.stem}.png")
    return folder


def ours(folders: list[Path], weights: tuple[Path, str], out: Path, resize: str) -> dict[str, Any]:
    """What `dalle.evaluate` finds, and in how many seconds."""
    began = time.monotonic()
    flags = [
        "--samples", folders[0], "--reference", folders[1], "--weights", weights[0], "--weights_sha256", weights[1],
        "--resize", resize, "--output_folder", out, "--blur", 0, "--extrapolate", "False", "--batch_size", BATCH,
        "--kid_subset_size", 100,
    ]  # fmt: skip
    assert evaluate.main([str(flag) for flag in flags]) == 0
    found = json.loads((out / "evaluation.json").read_text())["measured"][0]
    return {
        "fid": found["distances"][0]["value"],
        "is": found["inception_scores"]["without bias"]["mean"],
        "seconds": time.monotonic() - began,
    }


def by_pytorch_fid(folders: list[Path], weights: tuple[Path, str], extractor: InceptionFeatures) -> dict[str, Any]:
    """What its command finds, and how far its features are from ours."""
    import pytorch_fid.inception as peer
    from pytorch_fid.fid_score import calculate_fid_given_paths, get_activations

    peer.load_state_dict_from_url = lambda *_, **__: torch.load(weights[0])
    files = sorted(folders[0].iterdir())[:SOME]
    theirs = get_activations(files, peer.InceptionV3([3]), BATCH, num_workers=0)
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    own = extractor.embed(np.stack([extractor.preprocess(pixels) for pixels in pictures]))
    began = time.monotonic()
    fid = calculate_fid_given_paths([str(f) for f in folders], BATCH, "cpu", 2048, num_workers=0)
    return {"fid": float(fid), "seconds": time.monotonic() - began, "features_apart": float(np.abs(theirs - own).max())}


def by_torch_fidelity(folders: list[Path], weights: tuple[Path, str]) -> dict[str, Any]:
    """What its command finds."""
    import torch_fidelity

    began = time.monotonic()
    found = torch_fidelity.calculate_metrics(
        input1=str(folders[0]), input2=str(folders[1]), cuda=False, isc=True, fid=True, verbose=False, cache=False,
        feature_extractor_weights_path=str(weights[0]), batch_size=BATCH,
    )  # fmt: skip
    return {
        "fid": found["frechet_inception_distance"],
        "is": found["inception_score_mean"],
        "seconds": time.monotonic() - began,
    }


def networks(pictures: int) -> dict[str, Any]:
    """All numbers side by side."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        path = root / "pt_inception.pth"
        weights = path, write_weights(path, random_weights("tf"))
        folders = [squares(root / kind, kind, pictures // 2) for kind in ("cub", "flickr8k")]
        extractor = InceptionFeatures(load_weights(str(path), [weights[1]]), "pytorch-fid", batch=SOME)
        figures: dict[str, Any] = {"pictures": [len(list(folder.iterdir())) for folder in folders]}
        figures["pytorch-fid"] = by_pytorch_fid(folders, weights, extractor)
        figures["ours, as pytorch-fid"] = ours(folders, weights, root / "one", "pytorch-fid")
        figures["torch-fidelity"] = by_torch_fidelity(folders, weights)
        figures["ours, as torch-fidelity"] = ours(folders, weights, root / "two", "torch-fidelity")
    for peer, metrics in (("pytorch-fid", ("fid",)), ("torch-fidelity", ("fid", "is"))):
        for metric in metrics:
            value, expected = figures[f"ours, as {peer}"][metric], figures[peer][metric]
            figures[f"{metric} apart from {peer}, relative"] = abs(value - expected) / abs(expected)
    return figures


def drawn(count: int, seed: int) -> Statistics:
    """Features as Inception has them: some 2,048 of them, alike, never negative."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((256, 2048)) / 16
    features = np.maximum(rng.standard_normal((count, 256)) @ mixing + 0.3 * rng.standard_normal((count, 2048)), 0)
    return statistics_of([features.astype(np.float32)], 2048, "drawn")


def distances(count: int, repeats: int) -> dict[str, Any]:
    """Ours and pytorch-fid's of the same statistics, in turn; processor time, which other work disturbs less."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    one, other = drawn(count, 1), drawn(count, 2)
    bare = [Statistics(name="bare", mu=s.mu, sigma=s.sigma) for s in (one, other)]
    ways = {
        "ours": lambda: frechet_distance(one, other),
        "ours, of statistics alone": lambda: frechet_distance(*bare),
        "pytorch-fid": lambda: calculate_frechet_distance(one.mu, one.sigma, other.mu, other.sigma),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, float] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            values[name] = float(way())
            seconds[name].append(time.process_time() - began)
    middle = {name: float(np.median(each)) for name, each in seconds.items()}
    return {
        "pictures": count,
        "values": values,
        "processor_seconds": {name: spread(each, 3) for name, each in seconds.items()},
        "times_as_fast": {name: round(middle["pytorch-fid"] / each, 2) for name, each in middle.items()},
    }


def main(options: BenchmarkOptions) -> None:
    """Measure and write."""
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {"threads": options.threads}
    figures["distance"] = [distances(count, options.repeats) for count in (3000, 250)]
    if options.pictures:
        figures["networks"] = networks(options.pictures)
    record("evaluation", figures, ["torch", "numpy", "scipy", "pytorch-fid", "torch-fidelity"])


if __name__ == "__main__":
    main(tyro.cli(BenchmarkOptions))
