"""A checkpoint that many processes write, each what it holds of the weights; nobody ever holds all of them.

The first group of processes, who hold one copy of the weights, write one file each, and then the first process the
description, which makes them a checkpoint (`stored_checkpoint` shows the files). Until then the one before it stands,
whoever is killed. They must see the same folder, a disk of their machine or an object store; the others need none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from dalle.training.cuts import Piece
from dalle.training.ranks import Ranks
from dalle.training.stored_checkpoint import DAMAGED, SUFFIX, described, drop_old, parts_of
from dalle.training.tensor_file import DTYPES, write_tensors
from dalle.training.tensor_reader import read_header
from dalle.training.trees import split
from schemas.commands.ending import CommandFailed, cause_outside
from schemas.folder import FileRecord, Folder, Staging
from schemas.json_text import parse_json


def save(folder: Folder, step: int, tree: Mapping[str, Any], ranks: Ranks) -> str:
    """Write the checkpoint of a step and delete old ones; called on all processes.

    Args:
        folder: of the checkpoints; only what the first group sees is touched.
        step: how many steps are done.
        tree: dicts, lists, numbers, tensors that are the same on all processes, and parts of tensors.
        ranks: the processes.

    Returns:
        the path of the description.

    Raises:
        CommandFailed: on all of them, if one could not write.
    """
    tensors: dict[str, Tensor | Piece] = {}
    rest = json.dumps(split(tree, "", tensors))
    pieces = {path: value for path, value in tensors.items() if isinstance(value, Piece)}
    name = f"{step:08d}{SUFFIX}"
    letter = (ranks.from_first(_free(folder, name) if ranks.first else None) or b"").decode()

    def write() -> dict[str, Any]:
        part = f"{step:08d}-{letter}-{ranks.rank + 1}-of-{ranks.shard}{SUFFIX}"
        return _said(_write(folder, part, {path: each.part for path, each in pieces.items()}, {}))

    parts = all_did(ranks, ranks.shard, write)

    def describe() -> dict[str, Any]:
        whole = {path: value for path, value in tensors.items() if isinstance(value, Tensor)}
        return _said(_write(folder, name, whole, {"tree": rest, **described(parts, _outline(pieces))}))

    all_did(ranks, 1, describe)
    if ranks.first:
        with contextlib.suppress(OSError):  # the next one does it
            drop_old(folder)
    return folder.path(name)


def all_did(ranks: Ranks, count: int, work: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """What each of the first so many processes did, on all processes, who all call it.

    Raises:
        CommandFailed: on all, if one of them could not do it.
    """
    said = b""
    if ranks.rank < count:
        try:
            said = json.dumps(work()).encode()
        except OSError as error:
            said = json.dumps({"fault": cause_outside(error)}).encode()
    done = [parse_json(ranks.from_rank(rank, said) or b"{}") for rank in range(count)]
    for rank, each in enumerate(done):
        if "fault" in each:
            raise CommandFailed(f"rank {rank} could not write its part of the checkpoint: {each['fault']}")
    return done


def _write(folder: Folder, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> FileRecord:
    with Staging(folder) as staging:
        with staging.file(name) as file:
            write_tensors(file, tensors, metadata)
        return staging.publish()[0]


def _said(record: FileRecord) -> dict[str, Any]:
    return {"name": record.name, **record.to_json()}


def _outline(pieces: Mapping[str, Piece]) -> dict[str, Any]:
    words = {dtype: word for word, dtype in DTYPES.items()}
    return {
        path: {"dtype": words[each.part.dtype], "shape": list(each.cut.shape), "dim": each.cut.dim}
        for path, each in pieces.items()
    }


def _free(folder: Folder, name: str) -> bytes:
    """The letter that parts of a checkpoint of this name do not have: what stands must not be written over."""
    taken = set[str]()
    with contextlib.suppress(FileNotFoundError, *DAMAGED):
        taken = {part["name"].split("-")[1] for part in parts_of(read_header(folder, name).metadata)}
    return b"b" if "a" in taken else b"a"
