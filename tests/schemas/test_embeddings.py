"""Files of vectors: what is written is what is read, and no vector that is not one gets in or out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.embeddings import check_vectors, read_some_vectors, read_vectors, write_vectors
from schemas.folder import Folder, HashingFile, Staging

WRONG = [np.nan, np.inf, -np.inf, 3.4e38, 1e-30, 0.0, 2.0]


def unit(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def put(folder: Path, vectors: np.ndarray, *, checked: bool = True) -> Folder:
    if checked:
        with Staging(Folder(folder)) as staging:
            with staging.file("v.npy") as file:
                write_vectors(file, vectors)
            staging.publish()
    else:
        np.save(folder / "v.npy", vectors)
    return Folder(folder)


@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 9))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, count: int, views: int, dimension: int) -> None:
    """Of one or more views each, as float16 has them; some rows alone are those rows."""
    folder = tmp_path_factory.mktemp("v")
    several = unit((count, views, dimension))
    assert np.array_equal(several.astype(np.float16).astype(np.float32), read_vectors(put(folder, several), "v.npy"))
    one = several[:, 0]
    rows = np.arange(count)[::-1]
    assert np.array_equal(
        read_vectors(put(folder, one), "v.npy")[rows], read_some_vectors(Folder(folder), "v.npy", rows)
    )


@pytest.mark.parametrize("views", [None, 3])
@pytest.mark.parametrize("value", WRONG)
@given(data=st.data())
def test_one_bad_number_anywhere_is_told(
    tmp_path_factory: pytest.TempPathFactory, value: float, views: int | None, data: st.DataObject
) -> None:
    """Written or read, in any row, view and place: file and row are named."""
    vectors = unit((5, 4) if views is None else (5, views, 4))
    place = tuple(data.draw(st.integers(0, size - 1)) for size in vectors.shape)
    if value in (0.0, 1e-30):
        vectors[place[:-1]] = 0
    vectors[place] = value
    folder = tmp_path_factory.mktemp("v")
    with pytest.raises(ValueError, match=rf"^some pictures, vector {place[0]}: has a vector .*; expected unit length"):
        write_vectors(HashingFile(io.BytesIO()), vectors, "some pictures")
    with np.errstate(over="ignore"):
        put(folder, vectors.astype(np.float16), checked=False)
    with pytest.raises(ValueError, match=rf"v\.npy, row {place[0]}: has a vector .*; expected unit length; remove"):
        read_vectors(Folder(folder), "v.npy")
    if views is None:
        others = np.array([row for row in range(5) if row != place[0]])
        assert 4 == len(read_some_vectors(Folder(folder), "v.npy", others))
        with pytest.raises(ValueError, match=rf"v\.npy, row {place[0]}: has a vector"):
            read_some_vectors(Folder(folder), "v.npy", np.array([place[0]]))


@pytest.mark.parametrize("bit", range(16))
def test_any_flipped_bit_of_an_exponent_is_told(tmp_path: Path, bit: int) -> None:
    """What a disk may do to a file: what is read is of unit length, or it is said."""
    folder = put(tmp_path, unit((4, 8)))
    data = bytearray((tmp_path / "v.npy").read_bytes())
    data[-2 + bit // 8] ^= 1 << bit % 8
    (tmp_path / "v.npy").write_bytes(data)
    try:
        check_vectors(read_vectors(folder, "v.npy"), str, "")
    except ValueError as error:
        assert "v.npy, row 3: has a vector" in str(error)
    else:
        assert bit != 14


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), np.int64), np.zeros(3, np.float32), np.zeros((1, 1, 1, 1), np.float32),
        np.zeros((2, 2), np.complex64), np.array([["a"]]), np.asfortranarray(unit((3, 4))),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)  # fmt: skip
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    """Numbers of another type, other shapes."""
    with pytest.raises(ValueError, match=r"v\.npy: not a whole file of vectors \(holds .* expected floating-point"):
        read_vectors(put(tmp_path, array, checked=False), "v.npy")


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    """A shape of a million million rows, or one too few or too many, is refused before room is made for it."""
    put(tmp_path, unit((3, 4)))
    whole = (tmp_path / "v.npy").read_bytes()
    for shape in (b"(9, 4), } ", b"(2, 4), } ", b"(3, 5), } "):
        (tmp_path / "v.npy").write_bytes(whole.replace(b"(3, 4), } ", shape))
        for read in (
            lambda: read_vectors(Folder(tmp_path), "v.npy"),
            lambda: read_some_vectors(Folder(tmp_path), "v.npy", np.array([0])),
        ):
            with pytest.raises(ValueError, match=r"v\.npy: not a whole file of vectors \(has \d+ bytes"):
                read()
    (tmp_path / "v.npy").write_bytes(whole.replace(b"(3, 4), }           ", b"(999999999999, 4), }"))
    with pytest.raises(ValueError, match="not a whole file of vectors"):
        read_vectors(Folder(tmp_path), "v.npy")
    (tmp_path / "v.npy").write_bytes(whole)
    with pytest.raises(ValueError, match=r"has 3 rows, expected row 3"):
        read_some_vectors(Folder(tmp_path), "v.npy", np.array([0, 3]))
