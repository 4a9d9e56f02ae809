"""The tensors of a network from a file that `torch.save(network)` wrote, without running the program that it is.

OpenAI's encoder.pkl and decoder.pkl are pickles of whole modules: to load them in the usual way is to run whatever
is in them, and needs the very classes they were saved from, of the torch of their time. Here a pickle may only
name tensors and the modules that hold them: modules become lifeless boxes, tensors are rebuilt by the few lines
below, and anything else ends the reading before it is looked up.

Both layouts are read: the zip archive (torch 1.6 and later) and the older one, several pickles one after
the other with the numbers behind.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from dalle.dvae.download import download_bytes
from schemas.regular_file import check_regular
from schemas.stores import open_bytes

MAGIC = 0x1950A86A20F9469CFC6C
"""The number that the older layout begins with."""

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
}
MODULES = ("torch.", "dall_e.")
_FAULTS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    RuntimeError,
    RecursionError,
    MemoryError,
    OverflowError,
    UnicodeDecodeError,
)
"""What parsers of pickles, archives and tensors raise on bytes that are none."""


def read_state_dict(path: str) -> dict[str, Tensor]:
    """The network's parameters and buffers by their full names, in the order in which it holds them.

    Args:
        path: a file, or an address that fsspec opens; http and https need nothing else.

    Raises:
        ValueError: if the file cannot be had, is no network, or its pickle holds anything but tensors in modules.
    """
    data = _read(path)
    try:
        network = _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_older(data)
        if not isinstance(network, Box):
            raise ValueError(f"it holds a {type(network).__name__}, expected a network")
        return dict(_tensors(network, ""))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except _FAULTS as error:
        raise ValueError(
            f"{path}: is not a network that torch.save wrote whole ({type(error).__name__}: {error}); nothing in it "
            "was executed"
        ) from None


class Box:
    """A lifeless stand-in for any object: takes what it is given and does nothing with it."""

    state: Mapping[str, Any] = MappingProxyType({})
    """What the object would have held."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Unpickles a network; `storage` gives the numbers that a persistent id stands for."""

    def __init__(self, file: io.BytesIO, storage: Callable[[torch.dtype, str, int], Tensor]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """What may stand for a name: our own functions, two plain containers, or a box."""
        if (module, name) in _HONOURED:
            return _HONOURED[module, name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module + ".").startswith(MODULES):
            return Box
        raise ValueError(
            f"its pickle asks for {module}.{name}, which no network needs, so it was not read and nothing in it was "
            "executed; only the files that OpenAI released, or others saved in the same way, are read"
        )

    def persistent_load(self, pid: Any) -> Any:
        """A storage, or in the older layout also a class with its source."""
        if isinstance(pid, tuple) and pid[0] == "module":
            return Box
        if not (isinstance(pid, tuple) and pid[0] == "storage" and isinstance(pid[1], torch.dtype)):
            raise ValueError(f"its pickle refers to {str(pid)[:60]}, expected the numbers of a tensor")
        _, dtype, key, _, numel = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("its pickle holds a storage that is a part of another, which was last written in 2017")
        return self._storage(dtype, str(key), int(numel))


def _rebuild_tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)  # checks that it stays inside


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


_HONOURED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}


def _read(path: str) -> bytes:
    if path.startswith(("http://", "https://")):
        return download_bytes(path)
    if "://" not in path:
        check_regular(path)
    with open_bytes(path) as file:
        return bytes(file.read())


def _read_zip(data: bytes) -> Any:
    archive = zipfile.ZipFile(io.BytesIO(data))
    if sum(entry.file_size for entry in archive.infolist()) > len(data):
        raise ValueError("its archive is compressed, or names a part twice; torch.save writes neither")
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"it holds {len(pickles)} files data.pkl, expected one; is it a TorchScript archive?")
    top = pickles[0].removesuffix("data.pkl")
    if top + "byteorder" in archive.namelist() and archive.read(top + "byteorder") != b"little":
        raise ValueError("its numbers are big-endian, expected little-endian")
    read: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, numel: int) -> Tensor:
        if key not in read:
            size, expected = archive.getinfo(f"{top}data/{key}").file_size, numel * dtype.itemsize
            if size != expected:
                raise ValueError(f"storage {key} has {size} bytes, expected {expected}")
            read[key] = _numbers(archive.read(f"{top}data/{key}"), dtype)
        return read[key]

    return _Reader(io.BytesIO(archive.read(pickles[0])), storage).load()


def _read_older(data: bytes) -> Any:
    file = io.BytesIO(data)
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, numel: int) -> Tensor:
        if numel * dtype.itemsize > len(data):
            raise ValueError(f"storage {key} has {numel} numbers, more than the file can hold")
        return storages.setdefault(key, torch.empty(numel, dtype=dtype))

    def load() -> Any:
        return _Reader(file, storage).load()

    if load() != MAGIC:
        raise ValueError("its first number is not the one that torch.save writes")
    version, system = load(), load()
    if version != 1001 or not system.get("little_endian", True):
        raise ValueError(f"its layout is version {version}, expected 1001, little-endian")
    network = load()
    for key in load():
        numbers = storages[str(key)]  # shared by the tensors that were made of it
        (numel,) = struct.unpack("<q", file.read(8))
        expected = numbers.numel()
        if numel != expected:
            raise ValueError(f"storage {key} has {numel} numbers, expected {expected}")
        numbers.copy_(_numbers(file.read(numel * numbers.itemsize), numbers.dtype))
    return network


def _numbers(data: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _tensors(box: Box, prefix: str, depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if depth > 20:
        raise ValueError("its modules are nested more than 20 deep, expected 4")
    for kind in ("_parameters", "_buffers"):
        for name, value in box.state.get(kind, {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value.float()
    for name, child in box.state.get("_modules", {}).items():
        if isinstance(child, Box):
            yield from _tensors(child, f"{prefix}{name}.", depth + 1)
