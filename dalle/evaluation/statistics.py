"""Mean and covariance of features: summed up in any number of pieces, written and read as everybody's `.npz`.

pytorch-fid, TTUR and DM-GAN all keep `mu` [D] and `sigma` [D, D] under these names; ours have beside them, as strings,
what they are of (`choices`), so that those of another network are refused and not compared.
"""

from __future__ import annotations

import errno
import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np

from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.regular_file import check_regular
from schemas.shapes import NUMBER, Kind, Shape, misfit, or_none, whole

_LARGEST = 16_384
"""Features that statistics may be of."""
_GREATEST = 1e30
"""What a mean or a covariance may hold: its square is a number still."""
_MOST_BLUR = 1000
_BLUR = Kind(f"a radius from 0 to {_MOST_BLUR:,}", lambda value: NUMBER.fits(value) and 0 <= value <= _MOST_BLUR)
_SAID: Shape = {"blur?": _BLUR, "count?": or_none(whole(2))}
"""What statistics of ours say of themselves, beside names that are only compared."""
_FAULTS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError, LookupError, TypeError, RuntimeError, OSError,
    MemoryError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What reading an archive raises whose bytes were damaged or made to harm."""
_ZEROS = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The Gaussian of some features."""

    name: str
    """What they are of, for errors."""
    mu: np.ndarray
    """[D] float64."""
    sigma: np.ndarray
    """[D, D] float64, divided by one less than there are pictures, as `numpy.cov` has it."""
    count: int | None = None
    """Of pictures, where it is known."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Network, weights, resizing, blur; empty if nobody has said."""
    root: np.ndarray | None = None
    """[n, D] float64 with root' root = sigma, of fewer rows than D: for few pictures, their features themselves."""


class Moments:
    """Sums up features piece by piece, in double precision; memory is that of a covariance, or of two.

    Args:
        dimension: D, features of a picture.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._mean = np.zeros(dimension)
        self._scatter = np.zeros((dimension, dimension))
        self._few: list[np.ndarray] | None = []

    def add(self, features: np.ndarray) -> None:
        """[n, D] more (Chan et al. 1979: the pieces may be of any size)."""
        if not len(features):
            return
        values = features.astype(np.float64)
        if self._few is not None:
            self._few = [*self._few, values] if self.count + len(values) < len(self._mean) else None
        mean = values.mean(0)
        values = values - mean
        apart, together = mean - self._mean, self.count + len(values)
        self._scatter += values.T @ values
        self._scatter += np.outer(apart, apart) * (self.count * len(values) / together)
        self._mean += apart * (len(values) / together)
        self.count = together

    def statistics(self, name: str) -> Statistics:
        """Of all that was added.

        Raises:
            ValueError: if that are fewer than two pictures.
        """
        if self.count < 2:
            raise ValueError(
                f"{name}: has {self.count} pictures, expected 2 or more, of which a covariance can be made"
            )
        root = None
        if self._few is not None:
            root = (np.concatenate(self._few) - self._mean) / np.sqrt(self.count - 1)
        return Statistics(
            name=name,
            mu=self._mean.copy(),
            sigma=self._scatter / (self.count - 1),
            count=self.count,
            root=root,
        )


def statistics_of(pieces: Iterable[np.ndarray], dimension: int, name: str) -> Statistics:
    """Of features in pieces, each [n, dimension].

    Raises:
        ValueError: if there are fewer than two.
    """
    moments = Moments(dimension)
    for piece in pieces:
        moments.add(piece)
    return moments.statistics(name)


def write_statistics(folder: Folder, name: str, statistics: Statistics) -> None:
    """Leave them in a folder as `.npz`; the same statistics, the same bytes."""
    data = io.BytesIO()
    said = json.dumps({**statistics.choices, "count": statistics.count}, sort_keys=True)
    arrays = {"mu": statistics.mu, "sigma": statistics.sigma, "choices": np.array(said)}
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for member, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{member}.npy", _ZEROS), "w", force_zip64=True) as file:
                np.lib.format.write_array(cast(BinaryIO, file), array, allow_pickle=False)
    folder.write(name, data.getvalue())


def read_statistics(path: str) -> Statistics:
    """Those of an `.npz` of pytorch-fid's, TTUR's, DM-GAN's or ours; nothing in it is executed.

    Raises:
        ValueError: if it holds anything else.
        OSError: if it is not there.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            for wanted in ("mu.npy", "sigma.npy"):
                if wanted not in names:
                    raise ValueError(
                        f"it has no {wanted.removesuffix('.npy')}, but {', '.join(names)[:80] or 'nothing'}"
                    )
            mu = _array(archive, "mu.npy", 1)
            sigma = _array(archive, "sigma.npy", 2)
            choices = _choices(archive) if "choices.npy" in names else {}
    except _FAULTS as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # the disk's own, and no place before the file
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: holds no statistics ({reason}); expected an .npz with mu and sigma") from None
    if fault := _fault(mu, sigma):
        raise ValueError(f"{path}: {fault}; make it anew")
    count = choices.pop("count", None)
    return Statistics(name=path, mu=mu, sigma=sigma, count=count, choices=choices)


def _fault(mu: np.ndarray, sigma: np.ndarray) -> str:
    """Why they are no mean and covariance; nothing if they may be."""
    if sigma.shape != (mu.size, mu.size) or mu.size == 0:
        return f"its mu is {list(mu.shape)} and its sigma {list(sigma.shape)}"
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        return "holds NaN or infinity"
    if max(np.abs(mu).max(), np.abs(sigma).max()) > _GREATEST:
        return f"holds numbers above {_GREATEST:g}, which no features have"
    slack = 1e-6 * float(np.abs(sigma).max())
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=slack):
        return "its sigma is not symmetric, so it is no covariance"
    deviations = np.sqrt(np.maximum(np.diagonal(sigma), 0))
    if np.diagonal(sigma).min() < -slack or (np.abs(sigma) > 1.001 * np.outer(deviations, deviations) + slack).any():
        return "its sigma has a variance below zero or a correlation above one, so it is no covariance"
    return ""


def _array(archive: zipfile.ZipFile, member: str, dimensions: int) -> np.ndarray:
    """An array of numbers, of a shape that was looked at before anything was read."""
    with archive.open(member) as file:
        shape, _, dtype = _header(cast(BinaryIO, file))
        if len(shape) != dimensions or max(shape, default=0) > _LARGEST or dtype.kind != "f":
            raise ValueError(f"its {member.removesuffix('.npy')} is {dtype} {list(shape)}")
    with archive.open(member) as file:
        return np.lib.format.read_array(cast(BinaryIO, file), allow_pickle=False).astype(np.float64)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _choices(archive: zipfile.ZipFile) -> dict[str, Any]:
    with archive.open("choices.npy") as file:
        shape, _, dtype = _header(cast(BinaryIO, file))
        if shape != () or dtype.kind != "U" or dtype.itemsize > 1 << 16:
            raise ValueError("what it says of itself is no text")
    with archive.open("choices.npy") as file:
        value = parse_json(str(np.lib.format.read_array(cast(BinaryIO, file), allow_pickle=False)))
    if fault := misfit(value, _SAID):
        raise ValueError(f"what it says of itself: {fault}")
    return value
