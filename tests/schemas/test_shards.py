"""A shard's files: what is written is what is read, and the same samples are the same bytes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.folder import Folder, HashingFile, Staging
from schemas.shards import index_digits, read_parquet, read_tar, sample_key, shard_digits, shard_name, write_tar

keys = st.integers(0, 10**9 - 1).map(lambda n: f"{n:09d}")
members = st.dictionaries(st.sampled_from(["jpg", "txt", "json", "png"]), st.binary(max_size=2000), min_size=1)
samples = st.lists(st.tuples(keys, members), unique_by=lambda s: s[0], max_size=12)


def tar_bytes(content: list[tuple[str, dict[str, bytes]]]) -> bytes:
    out = io.BytesIO()
    write_tar(HashingFile(out), content)
    return out.getvalue()


@given(samples)
def test_tar_round_trip(content: list[tuple[str, dict[str, bytes]]]) -> None:
    """What is written is what is read, in order."""
    assert content == list(read_tar(io.BytesIO(tar_bytes(content)), "x.tar"))


@given(samples)
def test_same_samples_same_bytes(content: list[tuple[str, dict[str, bytes]]]) -> None:
    """No time, owner or machine is in a tar."""
    assert tar_bytes(content) == tar_bytes(content)
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(content))) as tar:
        assert all((0, 0, 0, 0o644) == (m.mtime, m.uid, m.gid, m.mode) for m in tar.getmembers())


@pytest.mark.parametrize("name", ["shard.tar", "manifest.json"])
def test_golden_bytes(name: str) -> None:
    """The format on disk does not change unnoticed."""
    from tests.golden.regenerate import HERE, golden

    assert (HERE / name).read_bytes() == golden()[name], (
        "the format's bytes changed; if they are meant to, run python -m tests.golden.regenerate and say so in CHANGELOG"
    )


def test_webdataset_writes_and_reads_the_same(tmp_path: Path) -> None:
    """webdataset's own writer with fixed times gives the same samples, and its reader reads ours."""
    content = [(f"{i:09d}", {"jpg": bytes([i]) * 600, "txt": b"a caption", "json": b'{"a": 1}'}) for i in range(5)]
    ours = tmp_path / "ours.tar"
    ours.write_bytes(tar_bytes(content))
    theirs = io.BytesIO()
    with webdataset.TarWriter(theirs, mtime=0, encoder=False) as writer:
        for key, sample in content:
            writer.write({"__key__": key, **sample})
    assert list(read_tar(io.BytesIO(theirs.getvalue()), "theirs.tar")) == [
        (key, dict(sorted(sample.items()))) for key, sample in content
    ]
    read = [
        (s["__key__"], {k: s[k] for k in ("jpg", "txt", "json")})
        for s in webdataset.WebDataset(str(ours), shardshuffle=False)
    ]
    assert content == read


@pytest.mark.parametrize("cut", [0, 100, 700, 1536, 2000, 3072])
def test_cut_tar_is_one_sentence(cut: int) -> None:
    """A tar that ends too early is an error that names the file, never fewer samples."""
    content = [(f"{i:09d}", {"jpg": b"\xff" * 900}) for i in range(3)]
    with pytest.raises(ValueError, match=r"x\.tar: not a whole tar file"):
        list(read_tar(io.BytesIO(tar_bytes(content)[:cut]), "x.tar"))


def test_cut_parquet_is_one_sentence(tmp_path: Path) -> None:
    """The same for Parquet."""
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"00000\.parquet: not a whole Parquet file .* make the shard again"):
        read_parquet(Folder(tmp_path), "00000.parquet")


def test_parquet_needs_no_seek(tmp_path: Path) -> None:
    """A Parquet file is written front to back, with a record that is true."""
    from schemas.shards import write_parquet

    table = pa.table({"key": ["a", "b"], "jpg": pa.array([b"1", None], pa.binary())})
    with Staging(Folder(tmp_path)) as staging:
        with staging.file("t.parquet") as file:
            write_parquet(file, [table.slice(0, 1), table.slice(1)], table.schema)
        record = staging.publish()[0]
    assert hashlib.sha256((tmp_path / "t.parquet").read_bytes()).hexdigest() == record.sha256
    assert table.equals(read_parquet(Folder(tmp_path), "t.parquet"))


@pytest.mark.parametrize(
    ("rows", "digits"), [(1, 1), (2, 1), (10, 1), (11, 2), (100, 2), (1000, 3), (10_000, 4), (10_001, 5)]
)
def test_index_digits_are_img2datasets(rows: int, digits: int) -> None:
    """ceil(log10 N), at least one; the last index always fits."""
    assert digits == index_digits(rows)
    assert len(str(rows - 1)) <= digits


@given(st.integers(1, 10**7), st.integers(1, 20_000))
def test_keys_sort_as_rows_do(shards: int, rows: int) -> None:
    """Keys of one plan have one length, no dot, and sort in the order of the list."""
    digits, index = shard_digits(shards), index_digits(rows)
    places = sorted({(0, 0), (0, rows - 1), (shards - 1, 0), (shards - 1, rows - 1)})
    made = [sample_key(shard_name(s, digits), i, index) for s, i in places]
    assert made == sorted(made)
    assert 1 == len({len(key) for key in made})
    assert 5 <= digits
