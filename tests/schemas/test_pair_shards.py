"""A shard of pairs in both formats: what is written is what is read; each sample's JSON is stable and valid."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.folder import Folder, Staging
from schemas.pair_shards import OutputFormat, extra_columns, read_ledger, read_pictures, sample_json, write_pairs
from schemas.pairs import LEDGER, ledger_schema, uid
from tests.golden.regenerate import ROW

EXTRA = pa.schema([pa.field("similarity", pa.float64()), pa.field("NSFW", pa.string())])


def ledger(kept: list[bool]) -> pa.Table:
    rows = [
        ROW
        | {"key": f"{i:09d}", "similarity": 0.25}
        | ({} if keep else {"status": "refused", "stage": "caption", "reason": "too-short"})
        for i, keep in enumerate(kept)
    ]
    return pa.Table.from_pylist(rows, schema=ledger_schema(EXTRA))


@pytest.mark.parametrize("output_format", ["webdataset", "parquet"])
@given(kept=st.lists(st.booleans(), max_size=20))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, output_format: OutputFormat, kept: list[bool]) -> None:
    """Ledger and pictures come back as they were given, pictures only for kept rows and in order."""
    folder = Folder(tmp_path_factory.mktemp("shard"))
    table = ledger(kept)
    with Staging(folder) as staging:
        write_pairs(staging, "00000", table, lambda i: f"picture {i}".encode(), kind="jpg", output_format=output_format)
        staging.publish()
    assert table.equals(read_ledger(folder, "00000"))
    expected = [(f"{i:09d}", "jpg", f"picture {i}".encode()) for i, keep in enumerate(kept) if keep]
    assert expected == list(read_pictures(folder, "00000"))
    assert EXTRA.names == extra_columns(read_ledger(folder, "00000").schema).names


def test_json_is_valid_and_keeps_the_lists_columns() -> None:
    """NaN is null, null columns of the list stay, null columns of ours go."""
    said = json.loads(sample_json(ROW), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert said["similarity"] is None
    assert "NSFW" in said
    assert "language" not in said
    assert "status" not in said
    nested = {"a": [float("nan"), {"b": float("-inf")}, b"\xff\0"], "c": (1, 2.5)}
    expected = {"a": [None, {"b": None}, "ff00"], "c": [1, 2.5]}
    assert expected == json.loads(sample_json({"extra": nested}), parse_constant=pytest.fail)["extra"]


def test_saved_column_may_not_take_a_name_of_ours() -> None:
    """It would hide the ledger's, or be taken for the pictures, whatever they are stored as."""
    for name in (*LEDGER.names, "jpg", "png", "webp"):
        with pytest.raises(ValueError, match=f"'{name}': this name is the ledger's own"):
            ledger_schema(pa.schema([pa.field(name, pa.string())]))


def test_every_column_says_what_it_is() -> None:
    """The table of docs/ledger.md and every reader of a shard learn a column's meaning from its schema."""
    assert all(field.metadata[b"description"] for field in LEDGER)


@given(st.text(), st.text(), st.text(), st.text())
def test_uid_tells_pairs_apart(url: str, caption: str, other_url: str, other_caption: str) -> None:
    """The same pair has the same uid, another has another (unless a tab moves from one part to the other)."""
    assert uid(url, caption) == uid(url, caption)
    if f"{url}\t{caption}" != f"{other_url}\t{other_caption}":
        assert uid(url, caption) != uid(other_url, other_caption)


def test_damaged_shard_is_one_sentence(tmp_path: Path) -> None:
    """A shard without tar and without pictures in its ledger says so."""
    folder = Folder(tmp_path)
    with Staging(folder) as staging:
        write_pairs(staging, "00000", ledger([True]), lambda i: b"x", kind="jpg", output_format="webdataset")
        staging.publish()
    folder.remove("00000.tar")
    with pytest.raises(ValueError, match="has neither a tar nor a column of pictures"):
        list(read_pictures(folder, "00000"))
