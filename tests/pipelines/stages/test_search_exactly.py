"""The search finds what brute force finds, whatever product chooses its candidates; decisions are a person's first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.decide import EmbeddedPictures, decide
from pipelines.stages.search_exactly import MOST, most_alike, search
from pipelines.vectors.duplicates import ReferenceSet, SearchResult
from pipelines.vectors.products import Factor, Product
from schemas.matches import DecidedBy, Decisions


def unit_vectors(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """As they are stored: unit length, float16."""
    values = rng.standard_normal(shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float16).astype(np.float32)


def with_copies(seed: int, count: int, references: int, views: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and references, some of them alike, some of the pictures twice."""
    rng = np.random.default_rng(seed)
    vectors, references_ = unit_vectors(rng, count, dimension), unit_vectors(rng, references, views, dimension)
    for row in range(0, count, 3):
        like = references_[rng.integers(references), rng.integers(views)]
        vectors[row] = like + rng.uniform(0, 0.15) * vectors[row]
        vectors[row] /= np.linalg.norm(vectors[row])
    vectors[1::7] = vectors[: len(vectors[1::7])]
    return vectors.astype(np.float16).astype(np.float32), references_


def searched(vectors: np.ndarray, references: np.ndarray, floor: float, *, fast: bool) -> SearchResult:
    flat = references.reshape(-1, references.shape[2])
    return search(Factor(vectors, fast=fast), Factor(flat, fast=fast), references.shape[1], floor)


@pytest.mark.parametrize("fast", [True, False])
@given(
    seed=st.integers(0, 2**32), count=st.integers(0, 40), references=st.integers(1, 30), views=st.integers(1, 3),
    floor=st.floats(-0.2, 0.95),
)  # fmt: skip
def test_search_is_brute_force(fast: bool, seed: int, count: int, references: int, views: int, floor: float) -> None:
    """In float64: every pair at or above the floor, in order; for each reference its nearest, the first of equals."""
    vectors, references_ = with_copies(seed, count, references, views, 24)
    result = searched(vectors, references_, floor, fast=fast)
    alike = np.einsum("nd,rvd->nrv", vectors, references_, dtype=np.float64).astype(np.float32).max(2, initial=-2)
    rows, refs = np.nonzero(alike >= np.float32(floor))
    order = np.lexsort((refs, -alike[rows, refs], rows))
    assert rows[order].tolist() == result.rows.tolist()
    assert refs[order].tolist() == result.references.tolist()
    assert alike[rows, refs][order].tolist() == result.similarities.tolist()
    if count:
        assert alike.argmax(0).tolist() == result.nearest.tolist()
        assert alike.max(0).tolist() == result.nearest_similarities.tolist()
    else:
        assert [-1] * references == result.nearest.tolist()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(row=st.integers(0, 5000), column=st.integers(0, 7))
def test_no_search_takes_what_is_not_finite(fast: bool, value: float, row: int, column: int) -> None:
    """One NaN among 5,001 vectors would hide the copies of all in its block: whatever is searched is looked at first."""
    vectors = unit_vectors(np.random.default_rng(0), 5001, 8)
    vectors[row, column] = value
    with pytest.raises(ValueError, match="a vector has a value that is not finite; embed the pictures again"):
        Factor(vectors, fast=fast)


def test_search_over_many_blocks() -> None:
    """1,500 pictures, 300 references: the same by either product."""
    vectors, references_ = with_copies(5, 1500, 300, 2, 64)
    fast, slow = (searched(vectors, references_, 0.3, fast=fast) for fast in (True, False))
    for one, other in zip(vars(fast).values(), vars(slow).values(), strict=True):
        assert one.tolist() == other.tolist()
    assert 300 <= len(fast.rows)


@pytest.mark.parametrize("fast", [True, False])
@given(seed=st.integers(0, 2**32), dimension=st.sampled_from([8, 64, 254, 512]), spread=st.floats(0, 8))
def test_no_product_is_off_by_more_than_it_says(fast: bool, seed: int, dimension: int, spread: float) -> None:
    """Whatever the components; where all are 1 / sqrt(254), bfloat16 rounds each of them by nearly all it can."""
    rng = np.random.default_rng(seed)
    vectors, others = (rng.lognormal(0, spread, (n, dimension)) * rng.choice([-1, 1], (n, dimension)) for n in (9, 7))
    vectors[:2] = others[:2] = 1
    vectors, others = (
        (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in (vectors, others)
    )
    product = Product(Factor(vectors, fast=fast), Factor(others, fast=fast))
    cosines = np.concatenate([block.float().numpy().T for _, _, block in product.blocks(4)])
    exact = vectors.astype(np.float64) @ others.astype(np.float64).T
    off = np.abs(exact - cosines)
    assert (off <= np.minimum(product.off(exact), product.off(cosines))).all()


def test_at_most_ten_a_picture() -> None:
    """Ranks count from 1, the most alike first."""
    rows = np.array([0] * 14 + [2] * 3)
    result = SearchResult(rows, np.arange(17), np.linspace(1, 0, 17, dtype=np.float32), np.zeros(0), np.zeros(0))
    chosen, rank = most_alike(result)
    assert [*range(MOST), 14, 15, 16] == chosen.tolist()
    assert [*range(1, 11), 1, 2, 3] == rank.tolist()


@pytest.fixture
def scene() -> tuple[SearchResult, ReferenceSet, np.ndarray]:
    """Three pictures: the first like two references, the second like one, the third like none."""
    references_ = np.eye(4, dtype=np.float32)[:3, None]
    vectors = np.array([[0.8, 0.6, 0, 0], [0, 0, 0.5, 0.866], [0, 0, 0, 1]], np.float32)
    names = ReferenceSet("val", ("a.jpg", "b.jpg", "c.jpg"), ("1", "2", "3"), references_, 0.55)
    return searched(vectors, references_, 0.1, fast=False), names, vectors


def decided(scene: tuple[SearchResult, ReferenceSet, np.ndarray], sha256s: list[str], pairs: dict) -> list[tuple]:
    result, names, vectors = scene
    copies = decide(result, names, EmbeddedPictures(["00", "01", "02"], sha256s, vectors), Decisions(pairs))
    return [(c.row, names.ids[c.reference], round(c.similarity, 3), c.decided_by) for c in copies]


def test_threshold_bytes_and_a_person(scene: tuple[SearchResult, ReferenceSet, np.ndarray]) -> None:
    """The same bytes are a copy whatever the score; a person's word counts above both."""
    by_threshold = [(0, "a.jpg", 0.8, DecidedBy.THRESHOLD), (0, "b.jpg", 0.6, DecidedBy.THRESHOLD)]
    assert by_threshold == decided(scene, ["x", "x", "x"], {})
    assert [*by_threshold, (2, "c.jpg", 0.0, DecidedBy.EXACT)] == decided(scene, ["x", "x", "3"], {})
    said = {("val", "00", "a.jpg"): "different", ("val", "01", "c.jpg"): "copy", ("val", "02", "c.jpg"): "different"}
    assert [(0, "b.jpg", 0.6, DecidedBy.THRESHOLD), (1, "c.jpg", 0.5, DecidedBy.PERSON)] == decided(
        scene, ["x", "x", "3"], said
    )
    with pytest.raises(ValueError, match=r"has no 'd\.jpg'"):
        decided(scene, ["x", "x", "x"], {("val", "00", "d.jpg"): "copy"})
