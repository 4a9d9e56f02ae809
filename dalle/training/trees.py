"""Trees of dicts, lists and numbers with tensors in them: as JSON without the tensors, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dalle.training.cuts import Piece


def split(node: Any, path: str, tensors: dict[str, Tensor | Piece]) -> Any:
    """The tree as JSON, with its tensors, and parts of such, taken out and named.

    Args:
        node: dicts, lists, tuples, strings, numbers, None, tensors and parts; keys are strings or whole numbers.
        path: where it stands.
        tensors: to which they are added, by their paths.

    Raises:
        TypeError: if something else is in it.
    """
    if isinstance(node, (Tensor, Piece)):
        tensors[path] = node
        return {"tensor": path}
    if isinstance(node, dict):
        return {"dict": [[key, split(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return [split(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    if node is None or isinstance(node, (str, bool, int, float)):
        return node
    raise TypeError(f"{path} is a {type(node).__name__}, expected a tensor, a number, a string or a tree of them")


def join(node: Any, tensors: Mapping[str, Any]) -> Any:
    """The tree of some JSON, with what stands for each tensor in its place."""
    if isinstance(node, list):
        return [join(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    return {key: join(value, tensors) for key, value in node["dict"]}
