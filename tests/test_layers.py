"""The house stays a house: imports go down or stay, stages and jobs do not import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"schemas": 0, "dalle": 1, "pipelines": 2}
JOBS = {"pipelines.ingest", "pipelines.dedup", "pipelines.vocab", "pipelines.encode", "pipelines.audit"}
NEVER = {
    "schemas": {"torch", "apache_beam", "dalle", "pipelines", "cv2", "PIL"},
    "dalle": {"apache_beam", "pipelines"},
    "pipelines.stages": {"apache_beam"},
    "pipelines.fetching": {"apache_beam", "torch"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in FLOORS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; spell it from the package's name"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_go_down_or_stay(module: str, path: Path) -> None:
    """A package imports only packages below it, and nothing that its floor is to be free of."""
    for name in imported(path):
        top = name.partition(".")[0]
        if top in FLOORS:
            assert FLOORS[top] <= FLOORS[module.partition(".")[0]], f"{module} imports {name}, which lies above it"
        for place, banned in NEVER.items():
            if module == place or module.startswith(place + "."):
                assert top not in banned, f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_stages_and_jobs_stand_alone(module: str, path: Path) -> None:
    """No stage imports a stage, no job imports a job, and nobody below imports a job."""
    for name in imported(path):
        if module.startswith("pipelines.stages.") and name.startswith("pipelines.stages."):
            pytest.fail(f"the stage {module} imports the stage {name}")
        assert name not in JOBS, f"{module} imports the job {name}"


@pytest.mark.parametrize(
    ("module", "free_of"),
    [
        ("dalle", ["torch", "apache_beam"]),
        ("dalle.pictures.images", ["torch", "apache_beam"]),
        ("dalle.pictures.resize", ["torch", "apache_beam"]),
        ("dalle.scenes", ["torch", "apache_beam"]),
        ("dalle.pictures.edits", ["torch", "apache_beam"]),
        ("dalle.text.tokenizer", ["torch", "apache_beam"]),
        ("pipelines.work.collect", ["torch"]),
        ("schemas.shards", ["torch", "apache_beam"]),
    ],
)
def test_light_modules_stay_light(module: str, free_of: list[str]) -> None:
    """Importing these loads neither torch nor Beam, not even through what they import."""
    code = f"import sys, {module}; print([name for name in {free_of!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
