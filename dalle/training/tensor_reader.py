"""Tensors of a safetensors file, read one by one, rows at a time, on any file system that a folder may lie on.

safetensors itself reads files of this machine's disks only. What is read was written by `tensor_file`, may have been
cut or changed since, and is checked before it is believed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor

from dalle.training.tensor_file import DTYPES
from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.shapes import COUNT, TEXT, Kind, Names, Shape, misfit, words

_LONGEST = 1 << 30
"""Bytes of a header."""
_TENSOR: Mapping[str, Shape] = {"dtype": words(*DTYPES), "shape": [COUNT], "data_offsets": [COUNT]}
_METADATA = Names(TEXT, TEXT)
_HEADER = Names(TEXT, Kind("an object", lambda value: isinstance(value, dict)))


@dataclass(frozen=True)
class Entry:
    """A tensor of a file."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    """Of its first byte in the file."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself."""

    content: bytes
    """As it stands at the file's beginning."""
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    size: int
    """Of the whole file in bytes."""


def read_header(folder: Folder, name: str) -> Header:
    """The header of a file.

    Raises:
        ValueError: if it is no safetensors file of ours, or was cut.
        OSError: if it is not there.
    """
    with folder.open(name) as file:
        head = file.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else _LONGEST + 1
        header = head + file.read(size) if size <= _LONGEST else b""
    parsed = parse_header(header, folder.path(name))
    if folder.size(name) != parsed.size:
        raise ValueError(
            f"{folder.path(name)}: has {folder.size(name):,} bytes, its header tells of {parsed.size:,}; it was cut"
        )
    return parsed


def parse_header(content: bytes, name: str) -> Header:
    """A header from the bytes at a file's beginning.

    Args:
        content: all of the header, and nothing after it.
        name: of the file, for complaints.

    Raises:
        ValueError: if it is none.
    """
    try:
        value = parse_json(content[8:])
    except ValueError as error:
        raise ValueError(f"{name}: is no safetensors file of ours ({error})") from None
    metadata = value.pop("__metadata__", {}) if isinstance(value, dict) else {}
    fault = misfit(metadata, _METADATA) or misfit(value, _HEADER) or misfit(value, Names(TEXT, _TENSOR_KIND))
    if fault:
        raise ValueError(f"{name}: is no safetensors file of ours ({fault})")
    entries, end = {}, 0
    for tensor, said in value.items():
        dtype, shape, begin = DTYPES[said["dtype"]], tuple(said["shape"]), said["data_offsets"][0]
        entries[tensor] = Entry(shape, dtype, len(content) + begin)
        end = max(end, said["data_offsets"][1])
    return Header(content, entries, metadata, len(content) + end)


def _is_tensor(value: Any) -> bool:
    if misfit(value, _TENSOR) or len(value["data_offsets"]) != 2:
        return False
    begin, end = value["data_offsets"]
    return bool(end - begin == math.prod(value["shape"]) * DTYPES[value["dtype"]].itemsize)


_TENSOR_KIND = Kind("dtype, shape and as many bytes as they take", _is_tensor)


def read_rows(file: IO[bytes], entry: Entry, first: int, end: int) -> Tensor:
    """Rows of a tensor, of its first dimension; of one without dimensions all.

    Raises:
        ValueError: if the file ends before them.
    """
    shape = (end - first, *entry.shape[1:]) if entry.shape else ()
    width = math.prod(entry.shape[1:]) * entry.dtype.itemsize
    file.seek(entry.offset + first * width)
    wanted = math.prod(shape) * entry.dtype.itemsize
    content = bytearray(wanted)
    view, have = memoryview(content), 0
    while have < wanted:
        some = file.read(wanted - have)
        if not some:
            raise ValueError("it ends in the middle of a tensor")
        view[have : have + len(some)] = some
        have += len(some)
    if not wanted:
        return torch.zeros(shape, dtype=entry.dtype)
    return torch.frombuffer(content, dtype=entry.dtype).view(shape)
