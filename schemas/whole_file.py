"""A file is written in one piece or not at all: under another name beside its own, synced and renamed."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from schemas.folder import sync


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written there has the name `path` once the block has ended well.

    If the block fails, or the process dies in it, what was at `path` before is still there.
    """
    unfinished = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
