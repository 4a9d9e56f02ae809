"""Notebooks show and hold no logic; each runs from its first to its last cell on what the commands left."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from nbclient import NotebookClient

from dalle import dvae
from pipelines.dedup import main as dedup
from schemas.matches import NEAREST
from tests.dalle.drawing.models import write_models
from tests.examples import write_image_folder

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


def test_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen samples of a tiny prior, the same again, by temperature, from a picture whose first row stays, the best."""
    monkeypatch.setenv("PRIOR", str(write_models(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    outputs = run("05_draw")
    shown = [output.data for output in outputs if "data" in output]
    assert "((16, 32, 32, 3), (16, 16), None)" == shown[0]["text/plain"]
    assert "True" in [data["text/plain"] for data in shown], "the first four are drawn again"
    assert 5 == sum("image/png" in data for data in shown)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.search(r"^[1-3] of 4 rows are the same in all samples$", printed, re.MULTILINE)


def test_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of all references and of half of them, curves, no FID without weights; closer to themselves than others."""
    references = write_image_folder(tmp_path / "val", 12)
    nearest = [
        {"reference_set": "val", "reference_id": path.name, "key": "0", "similarity": number / 20}
        for number, path in enumerate(sorted(references.iterdir()))
    ]
    (tmp_path / "clean/dedup").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(nearest, NEAREST), tmp_path / "clean/dedup/nearest.parquet")
    monkeypatch.setenv("SAMPLES", str(references))
    monkeypatch.setenv("REFERENCES", f"val={references}")
    monkeypatch.setenv("CLEAN", str(tmp_path / "clean"))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    outputs = run("06_judge")
    shown = [output.data for output in outputs if "data" in output]
    assert "(12, 12, 12)" == shown[0]["text/plain"]
    html = next(data["text/html"] for data in shown if "<td>" in data.get("text/html", ""))
    rows = [re.findall("<td>(.*?)</td>", row) for row in html.split("<tr>")[1:]]
    assert [*"0011224488"] == [f"{float(blur):g}" for _, blur, *_ in rows]
    for _, _, which, pictures, value, *_ in rows:
        assert {"all": "12", "without the overlap": "6"}[which] == pictures
        assert (float(value) < 1e-3) == (which == "all")
    assert 3 == sum("image/png" in data for data in shown)
    assert "no Inception Score" in shown[-1]["text/plain"]
    said = " ".join([*(data["text/plain"] for data in shown), *(one.text for one in outputs if "text" in one)])
    assert "distance" in said
    assert "FID" not in " ".join(said.split()).replace("this is no FID", "")
