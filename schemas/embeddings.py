"""Vectors of pictures: one file a shard, unit length, float16; beside it what is known of each, row for row.

Names follow clip-retrieval's: `img_emb/img_emb_00000.npy` and `metadata/metadata_00000.parquet`.
"""

from __future__ import annotations

from typing import cast

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


def embeddings_name(shard: str) -> str:
    """The file of a shard's vectors."""
    return f"img_emb_{shard}.npy"


def metadata_name(shard: str) -> str:
    """The file of what is known of them."""
    return f"metadata/metadata_{shard}.parquet"


def write_vectors(file: HashingFile, vectors: np.ndarray) -> None:
    """Write [N, D] float32 of unit length as float16, in NumPy's own format."""
    np.lib.format.write_array(cast("object", file), vectors.astype("<f2"), allow_pickle=False)  # type: ignore[arg-type]


def read_vectors(folder: Folder, name: str) -> np.ndarray:
    """[N, D] float32: the stored vectors, as float16 has them.

    Raises:
        ValueError: if the file is damaged.
    """
    with folder.open(name) as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole file of vectors ({error}); make it again") from None


def read_some_vectors(folder: Folder, name: str, rows: np.ndarray) -> np.ndarray:
    """[N, D] float32: some rows of a file of vectors, without reading all of it.

    Raises:
        ValueError: if the file is damaged.
    """
    with folder.open(name) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            (_, dimension), _, kind = header(file)
            start = file.tell()
            vectors = np.empty((len(rows), dimension), kind)
            for position, row in enumerate(rows.tolist()):
                file.seek(start + row * dimension * kind.itemsize)
                vectors[position] = np.frombuffer(file.read(dimension * kind.itemsize), kind)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole file of vectors ({error}); make it again") from None
    return vectors.astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of row with row, [N, D] float32 each: summed in float64, so that they depend on the rows alone."""
    return np.einsum("nd,nd->n", first, second, dtype=np.float64).astype(np.float32)
