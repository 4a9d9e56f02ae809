"""Notebooks show and hold no logic; each runs from its first to its last cell on what the commands left."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_short(path: Path) -> None:
    """Less than 60 lines, and nothing defined that would be worth a test."""
    lines = "\n".join(code(path)).splitlines()
    assert 60 > len(lines)
    assert not [line for line in lines if line.lstrip().startswith(("def ", "class "))]


def test_look_at_the_data(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the sample's pairs: a table of fates that add up, four plots."""
    monkeypatch.setenv("PAIRS", str(sample / "data/sample/pairs"))
    notebook = nbformat.read(NOTEBOOKS / "01_look_at_the_data.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(NOTEBOOKS))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if "data" in output]
    assert "success" in shown[0]["text/html"]
    assert 4 == sum("image/png" in data for data in shown)
