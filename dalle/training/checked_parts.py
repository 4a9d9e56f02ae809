"""Whether the parts of a checkpoint are those that were written with it, asked before they are read.

Sizes and shapes do not tell: the parts of another step, or of another process, have the same. Whoever goes on from a
mixture of two steps, or from changed bytes, trains something that nobody asked for, and is not told.
"""

from __future__ import annotations

from dalle.training.stored_checkpoint import complaining_of, parts_of
from dalle.training.tensor_reader import read_header
from schemas.folder import Folder


def check_parts(folder: Folder, name: str, index: int = 0, count: int = 1) -> None:
    """Check that parts of a checkpoint are those that its description was written for, to the byte.

    Args:
        folder: of the checkpoints.
        name: of the description.
        index: which of those who share the work this process is; it reads each `count`-th part.
        count: how many share it.

    Raises:
        ValueError: if one is another, or not there.
    """
    with complaining_of(folder.path(name)):
        for part in parts_of(read_header(folder, name).metadata)[index::count]:
            try:
                size, found = folder.size(part["name"]), folder.sha256(part["name"])
            except FileNotFoundError:
                raise ValueError(f"its part {part['name']} is not there") from None
            if size != part["size"]:
                raise ValueError(f"its part {part['name']} has {size:,} bytes, expected {part['size']:,}")
            if found != part["sha256"]:
                raise ValueError(
                    f"its part {part['name']} has the sha256 {found[:12]}, expected {part['sha256'][:12]}: it is of "
                    "another checkpoint, or was changed after writing"
                )
