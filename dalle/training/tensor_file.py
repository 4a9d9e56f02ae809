"""Tensors into a safetensors file one after the other: no second copy of a training's state is ever in memory.

safetensors' own `save` makes the whole file in memory first, and its `save_file` leaves a file of its own when it is
killed. The bytes are those of `save`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

_NAMES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""How the format calls what a training's state is made of, in the order of a file: the wide ones first."""
DTYPES = {name: dtype for dtype, name in _NAMES.items()}
"""What the format's words mean."""
_WIDTH = 8
"""The header is filled up to a multiple of so many bytes."""


class Writable(Protocol):
    """A file that is written front to back."""

    def write(self, data: Any, /) -> int:
        """Append the bytes."""
        ...


def write_tensors(file: Writable, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file.

    Args:
        file: written to from where it is.
        tensors: by name, on any device, with any strides.
        metadata: of the header.

    Raises:
        ValueError: if a tensor is of another kind than those above.
    """
    write_one_by_one(file, tensors, tensors.__getitem__, metadata)


def write_one_by_one(
    file: Writable, outline: Mapping[str, Tensor], tensor_of: Callable[[str], Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file whose tensors are made when their turn comes.

    Args:
        file: written to from where it is.
        outline: shapes and kinds by name, on any device, such as `meta`.
        tensor_of: gives a tensor of such a shape and kind; asked for in the order of `in_order`.
        metadata: of the header.

    Raises:
        ValueError: if a tensor is of another kind than those above.
    """
    names = in_order(outline)
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        value, begin = outline[name], end
        end += value.numel() * value.element_size()
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _WIDTH)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        value = tensor_of(name).detach().cpu().contiguous()
        file.write(value.view(-1).view(torch.uint8).numpy().data if value.numel() else b"")


def in_order(outline: Mapping[str, Tensor]) -> list[str]:
    """Names in the order in which a file has their tensors.

    Raises:
        ValueError: if a tensor is of another kind than those above.
    """
    order = list(_NAMES)
    for name, value in outline.items():
        if value.dtype not in _NAMES:
            raise ValueError(f"{name} is of {value.dtype}, expected one of {', '.join(map(str, order))}")
    return sorted(outline, key=lambda name: (order.index(outline[name].dtype), name))
