"""Where a training stands, written and read as its processes hold it: by the first of them, or each its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dalle.training import checkpoint, sharded_checkpoint
from dalle.training.checked_parts import check_parts
from dalle.training.ranks import Ranks
from dalle.training.set_aside import CHECKPOINTS
from dalle.training.stored_checkpoint import opened
from dalle.training.tensor_reader import read_header
from schemas.folder import RECIPE, Folder


def save(folder: Path, step: int, tree: Mapping[str, Any], ranks: Ranks) -> Path:
    """Write the checkpoint of a step; gives its path.

    Args:
        folder: the output folder.
        step: how many steps are done.
        tree: as `checkpoint.save` takes it; with parts of tensors where processes hold the weights together, who then
            call this all at once, while otherwise only the first does.
        ranks: the processes.
    """
    if not ranks.together:
        return checkpoint.save(folder / CHECKPOINTS, step, dict(tree))
    return Path(sharded_checkpoint.save(Folder(folder / CHECKPOINTS), step, tree, ranks))


@contextlib.contextmanager
def state(path: Path | None, folder: Path, ranks: Ranks) -> Iterator[dict[str, Any] | None]:
    """The tree of a checkpoint, on all processes; None if there is none.

    Where they hold the weights together its tensors are not read yet (`cuts.read` reads parts of them), and can be only
    inside the block.

    Args:
        path: of the checkpoint, on the first process, who alone knows.
        folder: the output folder.
        ranks: the processes.

    Raises:
        ValueError: if it is no checkpoint.
    """
    if not ranks.together:
        yield _whole(path, ranks)
        return
    checkpoints = Folder(folder / CHECKPOINTS)
    header = ranks.from_first(read_header(checkpoints, path.name).content if path else None)
    if header is None:
        yield None
        return
    name = (ranks.from_first(path.name.encode() if path else None) or b"").decode()
    reads = checkpoints if ranks.rank < ranks.shard else None
    if reads is not None and not reads.exists(name):
        raise ValueError(f"rank {ranks.rank}: {_unseen(folder, ranks)}")
    _check_parts(reads, name, ranks)
    with opened(reads, name, header, ranks.from_first_copy) as tree:
        yield tree


def _check_parts(folder: Folder | None, name: str, ranks: Ranks) -> None:
    """Have those who see a checkpoint share the work of `check_parts`; all processes end if one finds another part."""
    try:
        if folder is not None:
            check_parts(folder, name, ranks.rank, ranks.shard)
    except (ValueError, OSError):
        ranks.most(1)
        raise
    if ranks.most(0):
        raise ValueError(f"{name}: its parts are not all in order; the process that read them says what is wrong")


def _whole(path: Path | None, ranks: Ranks) -> dict[str, Any] | None:
    """The first process's checkpoint, on every process: they may share no disk."""
    if ranks.count == 1:
        return checkpoint.load(path) if path else None
    content = ranks.from_first(checkpoint.dumps(path) if path else None)
    return checkpoint.loads(content, f"the checkpoint of rank 0 ({path or 'sent'})") if content is not None else None


def check_shared(folder: Path, ranks: Ranks) -> None:
    """Check that all who will write parts of a checkpoint see the folder that the first process has begun.

    Raises:
        ValueError: on all processes, if one does not.
    """
    if not ranks.together:
        return
    own = folder / RECIPE
    first = ranks.from_first(own.read_bytes() if ranks.first else None)
    sees = ranks.rank >= ranks.shard or (own.is_file() and own.read_bytes() == first)
    if not sees:
        ranks.most(1)
        raise ValueError(f"rank {ranks.rank}: {_unseen(folder, ranks)}")
    if ranks.most(0):
        raise ValueError(f"rank {ranks.rank}: another process does not see it: {_unseen(folder, ranks)}")


def _unseen(folder: Path, ranks: Ranks) -> str:
    return (
        f"{folder} is not the folder of rank 0; the first {ranks.shard} processes, as many as --shard says, write a "
        "checkpoint together: start them where they share a disk"
    )
