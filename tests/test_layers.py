"""The house stays a house: imports go down or stay, between packages and between their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = {
    "pipelines": """
        ingest dedup vocab encode audit flow
        forecast sample_web copies auditing chain
        work
        stages
        captions
        lists fetching vectors
        running
        local
    """,
    "dalle": """
        train_dvae train_prior train_detector train_contrastive train_judge generate evaluate judge study
        scene_judge
        drawing evaluation
        dvae prior detectors contrastive
        training reading
        flags pages pictures text
        scenes sandbox shipped
    """,
    "schemas": "",
}
"""The packages, each with its rooms, from the top floor to the bottom; what stands in one line shares a floor.

A room is a folder, or a file at the package's top. Rooms of one floor do not import each other.
"""
JOBS = {"ingest", "dedup", "vocab", "encode", "audit", "flow"}
NEVER = {
    "schemas": {"torch", "apache_beam", "cv2", "PIL"},
    "dalle": {"apache_beam"},
    "pipelines.stages": {"apache_beam"},
    "pipelines.fetching": {"apache_beam", "torch"},
}
PACKAGES = list(HOUSE)


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = list(modules())
NAMES = {name for name, _ in MODULES}


def imported(path: Path) -> Iterator[str]:
    """What a file imports, wherever in it: modules by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; spell it from the package's name"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in NAMES else str(node.module)


def room_of(module: str) -> tuple[str, str]:
    """Package and room; the package's own `__init__` has no room."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def floor_of(package: str, room: str) -> int:
    """Counted from the top."""
    for floor, rooms in enumerate(HOUSE[package].split("\n")):
        if room in rooms.split():
            return floor
    raise AssertionError(f"{package}/{room} is not in the house; add it to HOUSE and to ARCHITECTURE.md")


each_module = pytest.mark.parametrize(("module", "path"), MODULES, ids=lambda v: v if isinstance(v, str) else "")


@each_module
def test_imports_go_down_or_stay(module: str, path: Path) -> None:
    """Of packages, and of rooms inside a package: no arrow up, so no circle; nothing a room is to be free of."""
    package, room = room_of(module)
    for name in imported(path):
        top = name.partition(".")[0]
        if top in HOUSE:
            assert PACKAGES.index(package) <= PACKAGES.index(top), f"{module} imports {name}, which lies above it"
        for banned_in, banned in NEVER.items():
            if module == banned_in or module.startswith(banned_in + "."):
                assert top not in banned, f"{module} imports {name}"
        if top == package and HOUSE[package] and room:
            other = room_of(name)[1]
            if other not in ("", room):
                assert floor_of(package, room) < floor_of(package, other), f"{module} imports {name}, not below it"


@each_module
def test_stages_and_jobs_stand_alone(module: str, path: Path) -> None:
    """No stage imports a stage or anything of copies; nobody imports a job."""
    for name in imported(path):
        if module.startswith("pipelines.stages."):
            assert not name.startswith("pipelines.stages."), f"the stage {module} imports the stage {name}"
            assert not name.startswith("pipelines.copies"), f"the stage {module} imports {name}"
        assert room_of(name) not in {("pipelines", job) for job in JOBS}, f"{module} imports the job {name}"


def test_every_room_says_what_it_is() -> None:
    """A newcomer reads it in the first line of its `__init__`, or of the file, and finds it in ARCHITECTURE.md."""
    story = (ROOT / "ARCHITECTURE.md").read_text()
    for package, floors in HOUSE.items():
        for room in floors.split():
            path = ROOT / package / room
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"
            assert f"`{room}" in story, f"ARCHITECTURE.md does not tell of {package}/{room}"


@pytest.mark.parametrize(
    ("module", "free_of"),
    [
        ("dalle", ["torch", "apache_beam"]),
        ("dalle.pictures.images", ["torch", "apache_beam"]),
        ("dalle.pictures.resize", ["torch", "apache_beam"]),
        ("dalle.scenes", ["torch", "apache_beam"]),
        ("dalle.pictures.edits", ["torch", "apache_beam"]),
        ("dalle.text.tokenizer", ["torch", "apache_beam"]),
        ("dalle.text.padding", ["torch", "apache_beam"]),
        ("pipelines.work", ["torch", "apache_beam"]),
        ("pipelines.running", ["torch", "apache_beam"]),
        ("pipelines.flow", ["torch", "apache_beam", "numpy"]),
        ("pipelines.work.collect", ["torch"]),
        ("schemas.shards", ["torch", "apache_beam"]),
    ],
)
def test_light_modules_stay_light(module: str, free_of: list[str]) -> None:
    """Importing these loads neither torch nor Beam, not even through what they import."""
    code = f"import sys, {module}; print([name for name in {free_of!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "[]" == done.stdout.strip()
