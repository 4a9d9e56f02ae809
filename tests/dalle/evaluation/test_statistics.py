"""Mean and covariance: those of numpy in any pieces; files of everybody are read, nothing in them is executed."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.evaluation.statistics import Moments, Statistics, read_statistics, statistics_of, write_statistics
from schemas.folder import Folder


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(lambda s: sum(s) > 1), seed=st.integers(0, 999))
def test_pieces_do_not_matter(sizes: list[int], seed: int) -> None:
    """They are numpy's of all at once, also far from 0."""
    features = np.random.default_rng(seed).standard_normal((sum(sizes), 5)).astype(np.float32) + 1000
    found = statistics_of(np.split(features, np.cumsum(sizes)[:-1]), 5, "some")
    assert np.allclose(features.astype(np.float64).mean(0), found.mu, rtol=1e-12)
    assert np.allclose(np.cov(features.astype(np.float64), rowvar=False), found.sigma, rtol=1e-8, atol=1e-9)
    assert sum(sizes) == found.count


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_are_refused(count: int) -> None:
    moments = Moments(3)
    moments.add(np.ones((count, 3), np.float32))
    with pytest.raises(ValueError, match=f"drawn: has {count} pictures, expected 2 or more"):
        moments.statistics("drawn")


def some(size: int = 6) -> Statistics:
    features = np.random.default_rng(0).standard_normal((20, size))
    return Statistics(
        name="some", mu=features.mean(0), sigma=np.cov(features, rowvar=False), count=20, choices={"scale": "tf"}
    )


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """By us and by pytorch-fid's few lines, and the same bytes each time."""
    folder, written = Folder(tmp_path), some()
    write_statistics(folder, "one.npz", written)
    write_statistics(folder, "two.npz", written)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = read_statistics(str(tmp_path / "one.npz"))
    assert np.array_equal(written.mu, read.mu)
    assert np.array_equal(written.sigma, read.sigma)
    assert (20, {"scale": "tf"}) == (read.count, read.choices)
    with np.load(tmp_path / "one.npz") as theirs:
        assert np.array_equal(written.mu, theirs["mu"][:])
        assert np.array_equal(written.sigma, theirs["sigma"][:])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_others_are_read(save: object, dtype: type, tmp_path: Path) -> None:
    """pytorch-fid, TTUR and DM-GAN save them so; who made them is not said then."""
    ours = some()
    save(tmp_path / "coco_val.npz", mu=ours.mu.astype(dtype), sigma=ours.sigma.astype(dtype), activations=np.ones(3))
    read = read_statistics(str(tmp_path / "coco_val.npz"))
    assert np.allclose(ours.sigma, read.sigma, atol=1e-6)
    assert (None, {}, np.float64) == (read.count, read.choices, read.mu.dtype)


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("executed").touch, ())


def test_no_pickle_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as an array of objects, nor as the file itself."""
    monkeypatch.chdir(tmp_path)
    np.savez("objects.npz", mu=np.array([Bomb()], object), sigma=np.ones((1, 1)))
    Path("pickle.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("objects.npz", "pickle.npz"):
        with pytest.raises(ValueError, match=rf"^{name}: holds no statistics .*expected an .npz with mu and sigma$"):
            read_statistics(name)
    assert not Path("executed").exists()


SAID = {"mu": some().mu, "sigma": some().sigma}
LIES = [f'{{"blur": {blur}}}' for blur in ('"abc"', "{}", "[1]", "-5", "1e300", "true", "null")] + ['{"count": -3}']
NAN = some().mu * np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": some().mu}, "it has no sigma, but mu.npy"),
        ({"mu": some().mu, "sigma": some(5).sigma}, r"its mu is \[6\] and its sigma \[5, 5\]"),
        ({"mu": some().sigma, "sigma": some().mu}, r"its mu is float64 \[6, 6\]"),
        ({"mu": np.arange(6), "sigma": some().sigma}, r"its mu is int64 \[6\]"),
        ({"mu": NAN, "sigma": some().sigma}, "holds NaN or infinity"),
        ({"mu": some().mu, "sigma": np.triu(some().sigma)}, "is not symmetric"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"its mu is \[0\]"),
        ({"mu": some().mu, "sigma": some().sigma, "choices": np.array("[]")}, "what it says of itself: "),
        *((SAID | {"choices": np.array(said)}, "what it says of itself: ") for said in LIES),
        ({"mu": some().mu + 1e200, "sigma": some().sigma}, "numbers above 1e\\+30"),
        ({"mu": some().mu, "sigma": -some().sigma}, "a variance below zero"),
        ({"mu": some().mu, "sigma": np.eye(6) + 9 * np.eye(6)[::-1]}, "a correlation above one"),
    ],
)
def test_what_is_none_is_refused(arrays: dict, message: str, tmp_path: Path) -> None:
    """In one sentence that names the file."""
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_statistics(str(tmp_path / "bad.npz"))
    assert str(caught.value).startswith(f"{tmp_path}/bad.npz: ")


def test_a_header_that_lies_costs_no_memory(tmp_path: Path) -> None:
    """An array of a terabyte is not begun."""
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        for name, shape in (("mu.npy", (400_000,)), ("sigma.npy", (400_000, 400_000))):
            with archive.open(name, "w") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with pytest.raises(ValueError, match="holds no statistics"):
        read_statistics(str(tmp_path / "large.npz"))


@pytest.mark.parametrize("cut", [0, 1, 50, 300])
def test_a_cut_file_is_refused(cut: int, tmp_path: Path) -> None:
    write_statistics(Folder(tmp_path), "one.npz", some())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:cut])
    with pytest.raises(ValueError, match="holds no statistics"):
        read_statistics(str(tmp_path / "cut.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_damage_is_more_than_a_sentence(method: int, tmp_path: Path) -> None:
    """Whatever bytes of an archive are others, in whichever way it was packed: numbers, or one sentence."""
    path, rng = tmp_path / "one.npz", np.random.default_rng(0)
    write_statistics(Folder(tmp_path), "one.npz", some())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        spoilt = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            spoilt[place] ^= int(rng.integers(1, 256))
        path.write_bytes(spoilt)
        try:
            read_statistics(str(path))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith(f"{path}: ")
    assert refused > 30


@pytest.mark.parametrize("header", ["(" * 9000, "-" * 9000 + "1", "{'descr': 5}", "__import__('os').abort()"])
def test_headers_made_to_harm(header: str, tmp_path: Path) -> None:
    text = header.encode()
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        for name in ("mu.npy", "sigma.npy"):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="holds no statistics"):
        read_statistics(str(tmp_path / "one.npz"))
