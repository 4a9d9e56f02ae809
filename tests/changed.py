"""Which tests `make check` runs: those of the rooms that were changed since the last commit, or that it changed.

    python -m tests.changed

prints their paths; the tests of the house itself, which take seconds, always. Slow ones among them are left out by
`make check`, not here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALWAYS = (
    "tests/test_layers.py",
    "tests/test_doctests.py",
    "tests/test_readme.py",
    "tests/test_docs.py",
    "tests/schemas",
)


def changed_files() -> list[str]:
    """Files of the working tree that differ from the last commit, or, if none do, those that it changed."""

    def git(*words: str) -> list[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")

    files = [*git("diff", "--name-only", "HEAD"), *git("ls-files", "--others", "--exclude-standard")]
    return [file for file in files if file] or git("diff", "--name-only", "HEAD~1", "HEAD")


def tests_of(file: str) -> str | None:
    """The tests of a file: itself if it is one, else those of its room, which lie in the folder of the same name."""
    parts = Path(file).parts
    if parts[:1] == ("tests",):
        return file if parts[-1].startswith("test_") and file.endswith(".py") else None
    if parts[:1] in (("dalle",), ("pipelines",)) and len(parts) > 2:
        return f"tests/{parts[0]}/{parts[1]}"
    return None


def chosen() -> list[str]:
    """Paths for pytest, each once; a folder stands for what is in it."""
    paths = {*ALWAYS, *filter(None, map(tests_of, changed_files()))}
    there = {path for path in paths if (ROOT / path).exists()}
    return sorted(path for path in there if not any(str(parent) in there for parent in Path(path).parents))


if __name__ == "__main__":
    print(*chosen())
