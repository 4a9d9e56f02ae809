"""Vectors of pictures: one file a shard, unit length, float16; beside it what is known of each, row for row.

Names follow clip-retrieval's: `img_emb/img_emb_00000.npy` and `metadata/metadata_00000.parquet`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import IO, cast

import numpy as np
import pyarrow as pa

from schemas.folder import Folder, HashingFile
from schemas.pairs import LEDGER

METADATA = pa.schema(
    [
        LEDGER.field(name)
        for name in ("key", "url", "caption", "original_width", "original_height", "sha256", "stored_sha256", "uid")
    ]
)
"""Of the pictures whose vectors a shard holds, in their order."""


DETECTOR_FILE = "detector.json"
"""Beside vectors: which detector made them."""
LENGTH_TOLERANCE = 0.02
"""How far a vector's length may be from 1; float16 moves it by 0.001."""
_ADVICE = "remove the file, and make it again or divide each by its length"


def embeddings_name(shard: str) -> str:
    """The file of a shard's vectors."""
    return f"img_emb_{shard}.npy"


def metadata_name(shard: str) -> str:
    """The file of what is known of them."""
    return f"metadata/metadata_{shard}.parquet"


def check_vectors(vectors: np.ndarray, where: Callable[[int], str], advice: str) -> None:
    """Every vector must be finite and of unit length: one that is not would hide the copies of all that it is compared
    with, because nothing is greater than NaN.

    Args:
        vectors: [N, D] or [N, V, D] of any floating type.
        where: gives for the number of one, from 0 to N - 1, what it is called.
        advice: what to do about one that is not, for the message.

    Raises:
        ValueError: naming the first that is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an infinity is what is looked for
        lengths = np.linalg.norm(vectors.astype(np.float32, copy=False), axis=-1)
        wrong = ~(np.abs(lengths - 1) <= LENGTH_TOLERANCE)  # true of NaN
    if wrong.any():
        number = int(np.argwhere(wrong)[0, 0])
        length = lengths[number][wrong[number]].flat[0] if lengths.ndim > 1 else lengths[number]
        found = f"of length {length:.3f}" if np.isfinite(length) else "with a value that is not finite"
        raise ValueError(f"{where(number)}: has a vector {found}; expected unit length; {advice}")


def write_vectors(file: HashingFile, vectors: np.ndarray, where: str = "the embeddings") -> None:
    """Write [N, D] or [N, V, D] float32 of unit length as float16, in NumPy's own format.

    Raises:
        ValueError: naming `where` and the first of them, if one is not of unit length.
    """
    check_vectors(vectors, lambda number: f"{where}, vector {number}", "divide each by its length")
    np.lib.format.write_array(cast("object", file), vectors.astype("<f2"), allow_pickle=False)  # type: ignore[arg-type]


def shape_of_vectors(folder: Folder, name: str) -> tuple[int, ...]:
    """The shape of the stored vectors, [N, D] or [N, V, D], without reading them.

    Raises:
        ValueError: if the file is damaged.
    """
    size = folder.size(name)
    with folder.open(name) as file:
        try:
            return _check_header(file, size, (2, 3))[0]
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole file of vectors ({error}); make it again") from None


def read_vectors(folder: Folder, name: str) -> np.ndarray:
    """[N, D] or [N, V, D] float32: the stored vectors, as float16 has them.

    Raises:
        ValueError: if the file is damaged, or a vector is not of unit length.
    """
    size = folder.size(name)
    with folder.open(name) as file:
        try:
            _check_header(file, size, (2, 3))
            file.seek(0)
            vectors = np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole file of vectors ({error}); make it again") from None
    check_vectors(vectors, lambda number: f"{folder.path(name)}, row {number}", _ADVICE)
    return vectors


def read_some_vectors(folder: Folder, name: str, rows: np.ndarray) -> np.ndarray:
    """[N, D] float32: some rows of a file of vectors, without reading all of it.

    Raises:
        ValueError: if the file is damaged, has no such row, or a vector is not of unit length.
    """
    size = folder.size(name)
    with folder.open(name) as file:
        try:
            (count, dimension), kind = _check_header(file, size, (2,))
            start = file.tell()
            vectors = np.empty((len(rows), dimension), kind)
            for position, row in enumerate(rows.tolist()):
                if not 0 <= row < count:
                    raise ValueError(f"has {count} rows, expected row {row}")
                file.seek(start + row * dimension * kind.itemsize)
                vectors[position] = np.frombuffer(file.read(dimension * kind.itemsize), kind)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole file of vectors ({error}); make it again") from None
    vectors = vectors.astype(np.float32)
    check_vectors(vectors, lambda number: f"{folder.path(name)}, row {rows[number]}", _ADVICE)
    return vectors


def _check_header(file: IO[bytes], size: int, dimensions: tuple[int, ...]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, before room is made for it: it must be what a file of so many bytes can hold."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, kind = header(file)
    if kind.kind != "f" or len(shape) not in dimensions or is_fortran:
        raise ValueError(f"holds {kind} of shape {shape}, expected floating-point numbers, a vector in each row")
    if file.tell() + math.prod(shape) * kind.itemsize != size:
        raise ValueError(f"has {size} bytes, which is not what {kind} of shape {shape} takes")
    return shape, kind


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of row with row, [N, D] float32 each: summed in float64, so that they depend on the rows alone."""
    return np.einsum("nd,nd->n", first, second, dtype=np.float64).astype(np.float32)
