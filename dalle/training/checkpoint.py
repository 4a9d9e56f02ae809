"""Where a training stands, on disk: written in one piece or not at all, read without running anything.

A checkpoint is one safetensors file, `00012000.safetensors`: the tensors of any tree of dicts, lists and numbers by
their path in it, and the rest of the tree as JSON in the file's header.
"""

from __future__ import annotations

import contextlib
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

from dalle.training.tensor_file import write_tensors
from schemas.regular_file import check_regular
from schemas.whole_file import whole_file

_DAMAGED = (struct.error, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a tree raises that is none."""

KEEP = 2
"""Older checkpoints are deleted: one may be read while the next is written."""


def save(folder: Path, step: int, tree: dict[str, Any]) -> Path:
    """Write the checkpoint of a step and delete old ones.

    Args:
        folder: made if need be.
        step: how many steps are done.
        tree: dicts, lists, tuples, strings, numbers, None and tensors; keys are strings or whole numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:08d}.safetensors"
    tensors: dict[str, Tensor] = {}
    rest = json.dumps(_split(tree, "", tensors))
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        write_tensors(file, tensors, {"tree": rest})
    for old in checkpoints(folder)[:-KEEP]:
        old.unlink()
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
        return _whole(_join(_tree(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}))  # noqa: SIM118


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
        return _whole(_join(_tree(header["__metadata__"]), safetensors.torch.load(content)))


def outline(path: Path) -> dict[str, Any]:
    """The tree of a checkpoint with None in place of its tensors, whose numbers are not read.

    Raises:
        ValueError: if the file is no checkpoint.
    """
    check_regular(path)
    with _complaining_of(str(path)), safetensors.safe_open(path, "pt") as file:
        return _whole(_join(_tree(file.metadata()), dict.fromkeys(file.keys())))


@contextlib.contextmanager
def _complaining_of(name: str) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise ValueError(f"{name}: is no checkpoint of ours ({error!r}); delete it to go on from another") from None


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


def _split(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON, with its tensors taken out and named."""
    if isinstance(node, Tensor):
        tensors[path] = node
        return {"tensor": path}
    if isinstance(node, dict):
        return {"dict": [[key, _split(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return [_split(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    if node is None or isinstance(node, (str, bool, int, float)):
        return node
    raise TypeError(f"{path} is a {type(node).__name__}, expected a tensor, a number, a string or a tree of them")


def _join(node: Any, tensors: Mapping[str, Tensor | None]) -> Any:
    if isinstance(node, list):
        return [_join(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    return {key: _join(value, tensors) for key, value in node["dict"]}
