"""The weights of a network on disk, checked before anything is built of them: whoever loads a model loads it here.

A model is one safetensors file with the sizes of its network as JSON in the metadata. It may be cut, another program's,
or made to harm: what is read is a regular file whose sizes are of their types and within their bounds, whose tensors
have the names and shapes of the network of these sizes, and hold numbers and nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import safetensors
import torch
from torch import Tensor, nn

from schemas.contents import is_awaited_of, why_not_left
from schemas.folder import Folder
from schemas.journal import check_awaits_nothing
from schemas.json_text import parse_json
from schemas.manifest import WEIGHTS
from schemas.options import spelled
from schemas.planning import NotThereYet, is_planning, reads
from schemas.regular_file import check_regular

ConfigT = TypeVar("ConfigT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)

_LARGEST = 1 << 24
"""Of any size of a network."""
_SHOWN = 40


@dataclass(frozen=True)
class ModelKind(Generic[ConfigT, NetworkT]):
    """What a file of weights is of."""

    what: str
    """What it should be, such as "a dVAE that dalle.dvae.save wrote"."""
    config_type: type[ConfigT]
    """A dataclass, the sizes of the network; they stand as JSON under `config` in the metadata."""
    make: Callable[[ConfigT], NetworkT]
    """Makes the network, with any weights."""
    blocks: Callable[[ConfigT], int]
    """How many parts of a network of these sizes have weights of their own, at least."""
    entry: str = ""
    """Of the metadata, where the sizes stand under `config` among other things; none if `config` is an entry itself."""


def load_network(path: str | Path, kind: ModelKind[ConfigT, NetworkT]) -> NetworkT:
    """The network of a file, in single precision, for use.

    Raises:
        ValueError: if it is anything else, in a sentence that says what was found.
        OSError: if it is not there, or cannot be read.
    """
    check_regular(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            config = _config(kind, file.metadata())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _check_shapes(shapes, _expected_shapes(kind, config, len(shapes)))
            tensors = {name: file.get_tensor(name) for name in shapes}
    except (safetensors.SafetensorError, _Misfit) as error:
        reason = (
            str(error)
            if isinstance(error, _Misfit)
            else f"no whole file of safetensors: {str(error).rpartition(': ')[2]}"
        )
        raise ValueError(
            f"{path}: is not {kind.what} ({' '.join(reason.split())}); give one that a training finished"
        ) from None
    single = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    if fault := fault_of_numbers(single):
        raise ValueError(f"{path}: {fault}; it is of no use, take one that a training finished")
    network = kind.make(config)
    network.load_state_dict(single)
    return network.eval()


def weights_of(name: str | Path, job: str, flag: str = "") -> Path:
    """The file of weights that a user named, itself or by its folder.

    Args:
        name: as it was given.
        job: the training that left it, such as `train_prior`.
        flag: that named it, for complaints, if it is known.

    Raises:
        ValueError: if there is none, or the folder is another job's.
    """
    reads(name)
    path = Path(name)
    if is_planning():
        check_awaits_nothing(Folder(path if path.is_dir() else path.parent))
    if why := why_not_left(str(name), job):
        sentence = f"{flag} {name}: {why}".lstrip()
        raise NotThereYet(sentence, name) if is_awaited_of(str(name), job) else ValueError(sentence)
    return path / WEIGHTS if path.is_dir() else path


def check_same_sizes(where: str, has: Any, wanted: Any) -> None:
    """Check that a network that is begun with has the sizes, a dataclass, that the flags say.

    Raises:
        ValueError: naming those that differ.
    """
    names = [field.name for field in fields(has) if getattr(has, field.name) != getattr(wanted, field.name)]
    if names:
        found, expected = (
            ", ".join(f"--{name} {spelled(getattr(each, name))}" for name in names) for each in (has, wanted)
        )
        raise ValueError(f"{where}: is a network of {found}, expected {expected}; give the flags that it was made with")


class _Misfit(ValueError):
    """What is in the file is not what is expected."""


def fault_of_numbers(tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with the numbers of some weights: of another kind, infinite or none; nothing if all is well."""
    for name, value in tensors.items():
        if not value.is_floating_point():
            return f"its weights {name} are {str(value.dtype).removeprefix('torch.')}, expected floating point numbers"
    spoilt = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    return (
        f"{len(spoilt)} of its {len(tensors)} tensors hold NaN or infinity, the first is {spoilt[0]}" if spoilt else ""
    )


def _expected_shapes(kind: ModelKind[ConfigT, NetworkT], config: ConfigT, tensors: int) -> dict[str, tuple[int, ...]]:
    """Of the network of these sizes, which is made where it takes no memory, and not at all if it has more parts."""
    if (blocks := kind.blocks(config)) > tensors:
        raise _Misfit(f"its sizes are those of {blocks:,} blocks, and it has {tensors:,} tensors")
    try:
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in kind.make(config).state_dict().items()}
    except (RuntimeError, OverflowError) as error:
        raise _Misfit(f"there is no network of these sizes: {error}") from None


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if name not in shapes:
            raise _Misfit(f"has no weights {name}")
        if shapes[name] != shape:
            raise _Misfit(f"its weights {name} are {list(shapes[name])}, expected {list(shape)}")
    if strangers := sorted(set(shapes) - set(expected)):
        raise _Misfit(f"has weights {strangers[0][:_SHOWN]}, which the network has not")


def _config(kind: ModelKind[ConfigT, NetworkT], metadata: Mapping[str, str] | None) -> ConfigT:
    """The sizes that stand in a file's metadata."""
    entry = kind.entry or "config"
    if metadata is None or entry not in metadata:
        raise _Misfit(f"has no {entry} in its metadata")
    try:
        value = parse_json(metadata[entry])
    except ValueError as error:
        raise _Misfit(f"the {entry} in its metadata is not JSON: {error}") from None
    if kind.entry:
        value = value.get("config") if isinstance(value, dict) else None
    if not isinstance(value, dict):
        raise _Misfit("the config in its metadata is not an object")
    try:
        return config_of(kind.config_type, value)
    except ValueError as error:
        raise _Misfit(f"the config in its metadata: {error}") from None


def config_of(config_type: type[ConfigT], value: Mapping[str, Any]) -> ConfigT:
    """A dataclass of numbers and tuples of numbers from JSON.

    Raises:
        ValueError: naming the first field that is missing, not expected, of another type, or too large.
    """
    assert is_dataclass(config_type)
    types = get_type_hints(config_type)
    names = [field.name for field in fields(config_type)]
    later = {field.name: field.default for field in fields(config_type) if field.metadata.get("unless_default")}
    value = {**later, **value}
    for name in (*names, *value):
        if name not in value or name not in names:
            raise ValueError(f"{name[:_SHOWN]} {'is missing' if name in names else 'is not one of its sizes'}")
    return config_type(**{name: _number(name, value[name], types[name]) for name in names})


def _number(name: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) > _SHOWN:
            raise ValueError(f"{name} is {repr(value)[:_SHOWN]}, expected a few numbers")
        return tuple(_number(name, each, get_args(kind)[0]) for each in value)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)) or not value <= _LARGEST:
        raise ValueError(f"{name} is {repr(value)[:_SHOWN]}, expected a number of at most {_LARGEST:,}")
    return kind(value)
