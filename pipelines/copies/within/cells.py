"""Cells of the space of vectors: pictures that look alike fall into the same one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import faiss
import numpy as np

from schemas.embeddings import embeddings_name, read_vectors, similarity
from schemas.folder import Folder

CELLS_EACH = 2
"""Cells that a picture goes to; `benchmarks/dedup.py` measures what that finds."""

_IN_A_CELL = 32_768
"""Vectors in a cell on average: fewer cells find more, and up to here searching one is cheap beside embedding it."""
_MOST_SAMPLED = 1 << 19
_SAMPLED_A_CELL = 64
_SAMPLED_SHARDS = 512
_ROUNDS = 10
_CANDIDATES = 4
"""Centres that are compared exactly; the product that chooses them is off by 1e-6 at most."""
_AT_ONCE = 4096


def number_of_cells(pictures: int) -> int:
    """How many cells a number of pictures is spread over."""
    return 1 if pictures <= _IN_A_CELL else -(-pictures * CELLS_EACH // _IN_A_CELL)


def sample(folder: Folder, shards: Sequence[str], sizes: Sequence[int], cells: int) -> np.ndarray:
    """Vectors that k-means learns from: evenly spaced pictures of evenly spaced shards, the same for the same dataset.

    Args:
        folder: where the shards' vectors lie.
        shards: all of them.
        sizes: their pictures.
        cells: how many are wanted.
    """
    wanted = min(_MOST_SAMPLED, cells * _SAMPLED_A_CELL)
    filled = [number for number, size in enumerate(sizes) if size]
    some = [filled[i] for i in np.unique(np.linspace(0, len(filled) - 1, _SAMPLED_SHARDS).astype(int))]
    total, parts = sum(sizes[number] for number in some), []
    for number in some:
        vectors = read_vectors(folder, embeddings_name(shards[number]))
        share = min(len(vectors), -(-wanted * len(vectors) // total))
        parts.append(vectors[np.linspace(0, len(vectors) - 1, share).astype(int)])
    return np.concatenate(parts)


def centres(vectors: np.ndarray, cells: int) -> np.ndarray:
    """The centres of cells, by FAISS's k-means in one thread.

    Args:
        vectors: [N, D] float32 of unit length to learn from.
        cells: how many are wanted, 1 or more.

    Returns:
        [cells, D] float32 of unit length; [N, D] if there are fewer vectors.
    """
    cells = min(cells, len(vectors))
    if cells <= 1:
        return vectors[:1]
    with one_faiss_thread():
        means = faiss.Kmeans(
            vectors.shape[1],
            cells,
            niter=_ROUNDS,
            seed=0,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=1 << 30,
        )
        means.train(np.ascontiguousarray(vectors))
    return np.asarray(means.centroids, np.float32)


def nearest_cells(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The cells that each vector goes to.

    Args:
        vectors: [N, D] float32 of unit length.
        centroids: [cells, D] of `centres`.

    Returns:
        [N, 2] int64, the nearest first; [N, 1] if there is one cell.
    """
    if len(centroids) == 1:
        return np.zeros((len(vectors), 1), np.int64)
    candidates = min(_CANDIDATES, len(centroids))
    parts = [np.zeros((0, CELLS_EACH), np.int64)]
    for start in range(0, len(vectors), _AT_ONCE):
        part = np.ascontiguousarray(vectors[start : start + _AT_ONCE])
        _, cells = faiss.knn(part, centroids, candidates, metric=faiss.METRIC_INNER_PRODUCT)
        alike = similarity(np.repeat(part, candidates, 0), centroids[cells.ravel()]).reshape(cells.shape)
        order = np.lexsort((cells, -alike))  # exact values, ties by number: the same whatever chose the candidates
        parts.append(np.take_along_axis(cells, order, 1)[:, :CELLS_EACH])
    return np.concatenate(parts)


@contextlib.contextmanager
def one_faiss_thread() -> Iterator[None]:
    """FAISS adds up in another order with more threads."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
