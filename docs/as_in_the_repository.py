"""A hook of mkdocs: on the site pages lie as they do in the repository, so that a link between them is right in both.

mkdocs knows one folder of pages. On the site its pages go to docs/, and beside that folder go README.md, the first
page, and whatever else the navigation names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

KINDS = (".md", ".png")


def named(nav: Any) -> Iterator[str]:
    """The paths in a navigation, however deep its sections are."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from named(part)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of docs/ where the repository has them, and add the pages that lie elsewhere."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    root = Path(config.config_file_path).parent
    of_docs = (f"docs/{path.name}" for path in Path(config.docs_dir).iterdir() if path.suffix in KINDS)
    for path in sorted({*of_docs, *named(config.nav)}):
        if (root / path).exists():  # else mkdocs says that the navigation names what is not there
            files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files
