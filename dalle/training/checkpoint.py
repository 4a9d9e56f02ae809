"""Where a training stands, on disk: written in one piece or not at all, read without running anything.

A checkpoint is one safetensors file, `00012000.safetensors`: the tensors of any tree of dicts, lists and numbers by
their path in it, and the rest of the tree as JSON in the file's header.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dalle.training.checked_parts import check_parts
from dalle.training.cuts import Piece, read
from dalle.training.stored_checkpoint import DAMAGED, drop_old, is_part, opened, parts_of, pieces_of
from dalle.training.tensor_file import write_tensors
from dalle.training.tensor_reader import read_header
from dalle.training.trees import join, split
from schemas.commands.printing import said_by
from schemas.folder import Folder
from schemas.regular_file import check_regular
from schemas.whole_file import whole_file


def save(folder: Path, step: int, tree: dict[str, Any]) -> Path:
    """Write the checkpoint of a step and delete old ones.

    Args:
        folder: made if need be.
        step: how many steps are done.
        tree: dicts, lists, tuples, strings, numbers, None and tensors; keys are strings or whole numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:08d}.safetensors"
    tensors: dict[str, Tensor | Piece] = {}
    rest = json.dumps(split(tree, "", tensors))
    whole = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, whole, {"tree": rest})
    drop_old(Folder(folder))
    return path


def latest(folder: Path) -> Path | None:
    """The checkpoint of the most steps, if there is one."""
    return next(reversed(checkpoints(folder)), None)


def load(path: Path) -> dict[str, Any]:
    """The tree that `save` was given; tuples come back as lists, tensors contiguous and on the processor.

    Raises:
        ValueError: if the file is no checkpoint.
    """
    check_regular(path)
    with _complaining_of(str(path)), safetensors.safe_open(path, "pt") as file:
        if "parts" not in (file.metadata() or {}):
            return _whole(join(_tree(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}))  # noqa: SIM118
    return _from_parts(path)


def _from_parts(path: Path) -> dict[str, Any]:
    """The tree of a checkpoint that several processes wrote; see `stored_checkpoint`."""
    folder = Folder(path.parent)
    check_parts(folder, path.name)
    with opened(folder, path.name, read_header(folder, path.name).content) as tree, _complaining_of(str(path)):
        return _whole(read(tree, {}))


def dumps(path: Path) -> bytes:
    """The bytes of a checkpoint for `loads`: those of its file, or, of one in parts, of one that it could have been.

    Raises:
        ValueError: if it is in parts and they are no checkpoint.
    """
    folder = Folder(path.parent)
    with _complaining_of(str(path)):
        if not parts_of(read_header(folder, path.name).metadata):
            return path.read_bytes()
    tensors: dict[str, Tensor | Piece] = {}
    rest, content = json.dumps(split(_from_parts(path), "", tensors)), io.BytesIO()
    write_tensors(content, {n: v for n, v in tensors.items() if isinstance(v, Tensor)}, {"tree": rest})
    return content.getvalue()


def loads(content: bytes, name: str) -> dict[str, Any]:
    """The tree in a checkpoint's bytes, as another process sends them.

    Args:
        content: of the file.
        name: of the file, for complaints.

    Raises:
        ValueError: if it is no checkpoint.
    """
    with _complaining_of(name):
        (size,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + size])
        return _whole(join(_tree(header["__metadata__"]), safetensors.torch.load(content)))


def outline(path: Path) -> dict[str, Any]:
    """The tree of a checkpoint with None in place of its tensors, whose numbers are not read.

    Raises:
        ValueError: if the file is no checkpoint.
    """
    check_regular(path)
    with _complaining_of(str(path)), safetensors.safe_open(path, "pt") as file:
        paths = [*file.keys(), *pieces_of(file.metadata() or {})]
        return _whole(join(_tree(file.metadata()), dict.fromkeys(paths)))


@contextlib.contextmanager
def _complaining_of(name: str) -> Iterator[None]:
    try:
        yield
    except (*DAMAGED, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{name}: is no checkpoint of ours ({said_by(error)}); delete it to go on from another"
        ) from None


def _whole(tree: Any) -> dict[str, Any]:
    """A checkpoint's tree, whose top has names and whose tensors hold numbers."""
    if not isinstance(tree, dict):
        raise TypeError(f"it holds a {type(tree).__name__}")
    for path, value in _tensors(tree, ""):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path} holds NaN or infinity")
    return tree


def _tensors(node: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield path, node
    elif isinstance(node, (dict, list)):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _tensors(value, f"{path}/{name}")


def _tree(metadata: Mapping[str, str] | None) -> Any:
    return json.loads((metadata or {})["tree"])


def like(value: Tensor, model: Tensor) -> Tensor:
    """The value on the device and with the strides of another tensor: sums in another order are other sums.

    Raises:
        ValueError: if it has another shape, which torch would stretch.
    """
    if value.shape != model.shape or value.dtype.is_floating_point != model.dtype.is_floating_point:
        found, expected = (f"{str(one.dtype).removeprefix('torch.')} {list(one.shape)}" for one in (value, model))
        raise ValueError(f"a tensor is {found}, expected {expected}")
    return torch.empty_like(model, dtype=value.dtype).copy_(value)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, by their steps."""
    paths = [path for path in folder.glob("*.safetensors") if re.fullmatch(r"\d{8,}", path.stem) and path.is_file()]
    return sorted(paths, key=lambda path: int(path.stem))


def files(folder: Path) -> list[Path]:
    """The files of all checkpoints of a folder: parts before what describes them."""
    return [*sorted(path for path in folder.glob("*-*.safetensors") if is_part(path.name)), *checkpoints(folder)]
