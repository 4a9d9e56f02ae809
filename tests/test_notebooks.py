"""Notebooks show and hold no logic; each runs from its first to its last cell on what the commands left."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from dalle import dvae
from pipelines.dedup import main as dedup

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def run(name: str) -> list[nbformat.NotebookNode]:
    """What its cells put out, one after the other."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(NOTEBOOKS))
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_short(path: Path) -> None:
    """Less than 60 lines, and nothing defined that would be worth a test."""
    lines = "\n".join(code(path)).splitlines()
    assert 60 > len(lines)
    assert not [line for line in lines if line.lstrip().startswith(("def ", "class "))]


def test_look_at_the_data(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the sample's pairs: a table of fates that add up, four plots."""
    monkeypatch.setenv("PAIRS", str(sample / "data/sample/pairs"))
    outputs = run("01_look_at_the_data")
    shown = [output.data for output in outputs if "data" in output]
    assert "success" in shown[0]["text/html"]
    assert 4 == sum("image/png" in data for data in shown)


def test_near_duplicates(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the sample, cleaned of its validation set: the nearest pairs, a curve, and pictures at each threshold."""
    place = sample / "data/sample"
    flags = ["--input_folder", place / "pairs", "--reference", f"validation={place / 'validation'}"]
    flags += ["--output_folder", tmp_path / "clean", "--detector", "phash", "--processes_count", 1]
    assert 0 == dedup([*map(str, flags)])
    monkeypatch.setenv("CLEAN", str(tmp_path / "clean"))
    monkeypatch.setenv("PAIRS", str(place / "pairs"))
    monkeypatch.setenv("REFERENCES", f"validation={place / 'validation'}")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    outputs = run("02_near_duplicates")
    shown = [output.data for output in outputs if "data" in output]
    assert "validation-0" in shown[0]["text/html"]
    assert 4 <= sum("image/png" in data for data in shown) <= 6


def test_what_a_code_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, codes and pictures again: three plots, and the caption's tokens."""
    torch.manual_seed(0)
    size = dvae.DVAEConfig(vocab_size=64, encoder_n_hid=4, decoder_n_hid=4, n_init=4, n_blk_per_group=1)
    dvae.save(dvae.DVAE(size), tmp_path / "dvae.safetensors")
    monkeypatch.setenv("DVAE", str(tmp_path / "dvae.safetensors"))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    shown = [output.data for output in run("03_what_a_code_sees") if "data" in output]
    assert 3 == sum("image/png" in data for data in shown)
    assert "[4, 32, 32]" in shown[0]["text/plain"]


def test_what_a_layer_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many layers of each kind, the paper's Figure 11, what one code sees, what is computed, what reaches how far."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    outputs = run("04_what_a_layer_sees")
    shown = [output.data for output in outputs if "data" in output]
    assert "{'row': 47, 'column': 16, 'convolution': 1}" in shown[0]["text/plain"]
    assert 3 == sum("image/png" in data for data in shown)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert all(kind in printed for kind in ("row", "column", "convolution"))
    assert "'convolution': " in shown[-1]["text/plain"]
