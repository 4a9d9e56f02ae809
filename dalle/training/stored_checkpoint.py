"""A checkpoint on disk or on an object store, of which every process reads the parts that it holds, tensor by tensor.

It is one file, or a description and parts that several processes wrote (`sharded_checkpoint`):

    00012000.safetensors                 the tree, tensors that are whole, and which parts belong to it; written last
    00012000-a-1-of-2.safetensors        what each process held; b, where a checkpoint of the same step is replaced
    00012000-a-2-of-2.safetensors

Whoever wrote it, with whatever number of processes, anybody can read any part of any tensor. Processes that hold the
same part get it from the first of them, who alone needs to see the folder.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor

from dalle.training.cuts import Cut
from dalle.training.tensor_file import DTYPES
from dalle.training.tensor_reader import Entry, Header, parse_header, read_header, read_rows
from dalle.training.trees import join
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.shapes import COUNT, INSIDE, TEXT, Kind, Names, Shape, misfit, words

KEEP = 2
"""Older checkpoints are deleted: one may be read while the next is written."""
SUFFIX = ".safetensors"
_DESCRIPTION, _PART = re.compile(r"\d{8,}\.safetensors"), re.compile(r"\d{8,}-[ab]-\d+-of-\d+\.safetensors")
_PARTS: Sequence[Shape] = [{"name": INSIDE, "size": COUNT, "sha256": TEXT}]
_TENSOR: Mapping[str, Shape] = {"dtype": words(*DTYPES), "shape": [COUNT], "dim": COUNT}
_PIECES = Names(TEXT, Kind("dtype, shape and dim", lambda value: not misfit(value, _TENSOR)))
DAMAGED = (struct.error, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a file raises that is no checkpoint."""

Box = Sequence[tuple[int, int]]
"""First and end along each dimension."""
Relay = Callable[[Tensor], Tensor]
"""Gives a tensor of the first of the processes that hold the same part to the others."""


@dataclass(frozen=True)
class _Source:
    """Where a part of a tensor lies."""

    file: str
    entry: Entry
    box: Box


@dataclass(frozen=True)
class Stored:
    """A tensor of a checkpoint that is not read yet; see `dalle.training.cuts.StoredTensor`."""

    path: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    _sources: Sequence[_Source]
    _open: Callable[[str], IO[bytes]] | None
    """None where another process reads."""
    _relay: Relay

    def read(self, cut: Cut | None) -> Tensor:
        """A part of it, or all, on the processor; asked for on all processes that hold the same part.

        Raises:
            ValueError: if it holds NaN or infinity, or its file is damaged.
        """
        box = [(0, size) for size in self.shape]
        if cut is not None:
            box[cut.dim] = (cut.first, cut.end)
        value = torch.empty([end - first for first, end in box], dtype=self.dtype)
        if self._open is not None:
            for source in self._sources:
                _fill(value, box, source, self._open)
        value = self._relay(value)
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{self.path} holds NaN or infinity")
        return value


def _fill(value: Tensor, box: Box, source: _Source, opened: Callable[[str], IO[bytes]]) -> None:
    """Read what a source has of a box of a tensor."""
    shared = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, source.box, strict=True)]
    if any(first >= end for first, end in shared):
        return
    rows = (shared[0][0] - source.box[0][0], shared[0][1] - source.box[0][0]) if shared else (0, 0)
    found = read_rows(opened(source.file), source.entry, *rows)
    for dim, ((first, end), (of_box, _), (of_source, _)) in enumerate(zip(shared, box, source.box, strict=True)):
        value = value.narrow(dim, first - of_box, end - first)
        if dim:
            found = found.narrow(dim, first - of_source, end - first)
    value.copy_(found)


@contextlib.contextmanager
def opened(folder: Folder | None, name: str, header: bytes, relay: Relay = lambda value: value) -> Iterator[Any]:
    """The tree of a checkpoint, with `Stored` in place of its tensors; they can be read inside the block.

    Args:
        folder: of the checkpoints; None where another process reads.
        name: of its file, or its description.
        header: the header of that file, which may have come from another process.
        relay: see there.

    Raises:
        ValueError: if it is no checkpoint, or a part of it is not there.
    """
    where = folder.path(name) if folder is not None else name
    with contextlib.ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}

        def open_once(part: str) -> IO[bytes]:
            assert folder is not None
            if part not in files:
                files[part] = stack.enter_context(folder.open(part))
            return files[part]

        reads = None if folder is None else open_once
        with complaining_of(where):
            own = parse_header(header, where)
            tensors = {
                path: Stored(path, shape, dtype, sources, reads, relay)
                for path, (shape, dtype, sources) in _sources(own, name, folder).items()
            }
            tree = join(parse_json(own.metadata["tree"]), tensors)
        yield tree


def _sources(
    own: Header, name: str, folder: Folder | None
) -> dict[str, tuple[tuple[int, ...], torch.dtype, list[_Source]]]:
    """Of each tensor its shape and kind, and where its parts lie."""
    found = {
        path: (entry.shape, entry.dtype, [_Source(name, entry, [(0, size) for size in entry.shape])])
        for path, entry in own.entries.items()
    }
    pieces = pieces_of(own.metadata)
    for path, said in pieces.items():
        found[path] = (tuple(said["shape"]), DTYPES[said["dtype"]], [])
    if folder is None or not pieces:
        return found
    firsts = dict.fromkeys(pieces, 0)
    for part in parts_of(own.metadata):
        try:
            header = read_header(folder, part["name"])
        except FileNotFoundError:
            raise ValueError(f"its part {part['name']} is not there") from None
        if header.size != part["size"]:
            raise ValueError(f"its part {part['name']} has {header.size:,} bytes, expected {part['size']:,}")
        for path, said in pieces.items():
            entry, box = header.entries[path], [(0, size) for size in said["shape"]]
            first = firsts[path]
            firsts[path] = first + entry.shape[said["dim"]]
            box[said["dim"]] = (first, firsts[path])
            if entry.shape != tuple(end - start for start, end in box) or entry.dtype != DTYPES[said["dtype"]]:
                raise ValueError(f"{path} in its part {part['name']} is {list(entry.shape)}, of {said['shape']} in all")
            found[path][2].append(_Source(part["name"], entry, box))
    for path, said in pieces.items():
        if firsts[path] != said["shape"][said["dim"]]:
            raise ValueError(f"its parts have {firsts[path]} of {path}, expected {said['shape'][said['dim']]}")
    return found


@contextlib.contextmanager
def complaining_of(name: str) -> Iterator[None]:
    """Say in one sentence that a file is no checkpoint."""
    try:
        yield
    except (*DAMAGED, FileNotFoundError) as error:
        reason = str(error) if type(error) is ValueError else repr(error)
        raise ValueError(f"{name}: is no checkpoint of ours ({reason}); delete it to go on from another") from None


def parts_of(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """Name, size and sha256 of the parts that a description names; none if it is a whole checkpoint.

    Raises:
        ValueError: if it was changed after writing.
    """
    return _json(metadata, "parts", _PARTS, [])


def pieces_of(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Kind, shape and dimension of the cut of the tensors that lie in parts, by path; errors as of `parts_of`."""
    return _json(metadata, "pieces", _PIECES, {})


def _json(metadata: Mapping[str, str], name: str, shape: Shape, missing: Any) -> Any:
    value = parse_json(metadata[name]) if name in metadata else missing
    if fault := misfit(value, shape):
        raise ValueError(f"its {name}: {fault}")
    return value


def described(parts: Sequence[Mapping[str, Any]], pieces: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What a description says of its parts, as `parts_of` and `pieces_of` read it."""
    return {"parts": json.dumps(parts), "pieces": json.dumps(pieces)}


def is_part(name: str) -> bool:
    """Whether a file of this name is a part of a checkpoint."""
    return _PART.fullmatch(name) is not None


def is_description(name: str) -> bool:
    """Whether a file of this name is, or describes, a checkpoint."""
    return _DESCRIPTION.fullmatch(name) is not None


def steps_of(name: str) -> int:
    """How many steps are done in a checkpoint, by the name of its file or description."""
    return int(name.removesuffix(SUFFIX))


def names(folder: Folder) -> list[str]:
    """Names of the files that are, or describe, a checkpoint, by their steps."""
    return sorted(filter(is_description, folder.names()), key=steps_of)


def drop_old(folder: Folder) -> None:
    """Delete old checkpoints, and parts that no checkpoint has: also those of a process that was killed."""
    for name in names(folder)[:-KEEP]:
        folder.remove(name)
    parts = [name for name in folder.names() if is_part(name)]
    if not parts:
        return
    kept = set[str]()
    for name in names(folder):
        with contextlib.suppress(*DAMAGED):
            kept.update(part["name"] for part in parts_of(read_header(folder, name).metadata))
    for name in parts:
        if name not in kept:
            folder.remove(name)
