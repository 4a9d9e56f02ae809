"""A job done again in the process of an earlier one, as in a notebook, sees what lies there now under the old names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines import dedup, encode
from schemas.folder import Folder
from schemas.manifest import read_manifest
from schemas.pair_shards import OutputFormat
from tests.dalle.drawing.models import write_models
from tests.examples import write_scenes
from tests.folders import say_made_by


class Projected(nn.Module):
    """A detector of random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 16)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.linear(pixels.mean((2, 3)))


@pytest.fixture(autouse=True)
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six pictures, in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "pairs", (6,), lineage=())
    say_made_by("ingest", tmp_path / "pairs", 6)


def removed(detector: str = "phash") -> tuple[int, dict[str, bytes]]:
    """How many pictures dedup takes out, and its vectors, where all folders have the same names each time."""
    shutil.rmtree("clean", ignore_errors=True)
    flags = [
        "--reference",
        "a=held-out",
        "--allow_self_reference",
        "--detector",
        detector,
        "--processes_count",
        "1",
        "--quiet",
    ]
    dedup.main(["--input_folder", "pairs", "--output_folder", "clean", *flags])
    vectors = {str(path): path.read_bytes() for path in sorted(Path("clean").rglob("img_emb_*.npy"))}
    return read_manifest(Folder("clean"))["counts"]["statuses"].get("removed", 0), vectors


def hold_out(scenes: int, output_format: OutputFormat = "webdataset") -> None:
    """A reference set of the first scenes."""
    shutil.rmtree("held-out", ignore_errors=True)
    write_scenes(Path("held-out"), (scenes,), lineage=(), output_format=output_format)


@pytest.mark.parametrize("output_format", ["webdataset", "parquet"])
def test_references_that_were_replaced(output_format: OutputFormat) -> None:
    """More references, or fewer, in files of the old names."""
    found = []
    for count in (2, 5, 2):
        hold_out(count, output_format)
        found.append(removed())
    assert [2, 5, 2] == [count for count, _ in found]
    assert found[0] == found[2]


def test_a_detector_that_was_replaced() -> None:
    """Other weights in a file of the old name give other vectors."""
    hold_out(2)
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        torch.jit.script(Projected()).save("detector.pt")
        found.append(removed("torchscript:detector.pt")[1])
    assert found[0] == found[2] != found[1]


def test_a_dvae_that_was_replaced() -> None:
    """Other weights in a file of the old name give other codes."""
    found = []
    for seed in (0, 1, 0):
        for name in ("prior", "dvae", "examples"):
            shutil.rmtree(name, ignore_errors=True)
        write_models(Path.cwd(), seed=seed)
        given = ["--dvae", "dvae/model.safetensors", "--resolution", "32", "--processes_count", "1", "--quiet"]
        assert 0 == encode.main(["--input_folder", "pairs", "--output_folder", "examples", "--device", "cpu", *given])
        found.append(Path("examples/00000.parquet").read_bytes())
    assert found[0] == found[2] != found[1]
