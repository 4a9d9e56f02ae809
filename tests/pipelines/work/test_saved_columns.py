"""Columns that are saved beside the ledger's: those whose names are taken are refused before anything is begun."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import get_args

import pytest

from dalle.scenes import compose, draw
from pipelines.audit import main as audit
from pipelines.ingest import main
from pipelines.lists.rows import ROWS
from pipelines.stages.verify_hash import HashName
from schemas.exit_codes import OK, USAGE
from schemas.folder import Folder
from schemas.pair_shards import OutputFormat, extra_columns, read_ledger
from schemas.pairs import LEDGER, PICTURES
from tests.conftest import write_jpeg
from tests.server import Web

FORMATS = [(form, kind) for form in get_args(OutputFormat) for kind in PICTURES]
QUALITY = {"jpg": "95", "png": "9", "webp": "95"}
TAKEN = sorted({*LEDGER.names, *PICTURES, *ROWS.names})
"""By the ledger, by pictures, or by rows on their way."""
FREE = ["txt", "json", "gif", "jpeg", "image_codes", "md5", "sha512", "JPG", "similarity", "__index_level_0__", "a b"]


@pytest.fixture
def listed(web: Web, tmp_path: Path) -> Path:
    """One picture, and a column of each name, which holds its md5."""
    write_jpeg(web.folder / "a.jpg", draw(compose(0, 64, 64)))
    names = dict.fromkeys([*TAKEN, *FREE], hashlib.md5((web.folder / "a.jpg").read_bytes()).hexdigest())
    row = {**names, "url": web.url("a.jpg"), "caption": "a boat on a lake"}
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*row], [*row.values()]])
    return tmp_path / "list.csv"


def ingest(listed: Path, web: Web, *more: str) -> int:
    out = listed.parent / "out"
    flags = ["--url_list", str(listed), "--output_folder", str(out), "--filters", "none", "--processes_count", "1"]
    return main([*flags, "--allow_private_hosts", web.address, *more])


@pytest.mark.parametrize(("form", "kind"), FORMATS)
def test_names_that_are_taken_are_refused(
    form: str, kind: str, listed: Path, web: Web, capsys: pytest.CaptureFixture
) -> None:
    """In one sentence, with exit code 2, whatever the pictures are stored as; nothing is written."""
    flags = ("--output_format", form, "--encode_format", kind, "--encode_quality", QUALITY[kind])
    for name in TAKEN:
        assert USAGE == ingest(listed, web, *flags, "--save_additional_columns", "similarity", name), name
        told = capsys.readouterr()
        said = " ".join((told.out + told.err).replace("│", " ").split())
        assert "this name is the ledger's own" in said or "this name has another meaning on the way" in said
        assert name in said
    for name in get_args(HashName):
        assert USAGE == ingest(listed, web, *flags, "--save_additional_columns", name, "--compute_hash", name), name
    assert not (listed.parent / "out").exists()


@pytest.mark.parametrize(("form", "kind"), FORMATS)
def test_all_other_names_come_out(form: str, kind: str, listed: Path, web: Web) -> None:
    """Saved, in their order, in a dataset without faults; a column of sums may have a name that is taken."""
    flags = ("--output_format", form, "--encode_format", kind, "--encode_quality", QUALITY[kind])
    assert OK == ingest(listed, web, *flags, "--verify_hash", kind, "md5", "--save_additional_columns", *FREE)
    ledger = read_ledger(Folder(listed.parent / "out"), "00000")
    assert extra_columns(ledger.schema).names == FREE
    (row,) = ledger.to_pylist()
    assert "success" == row["status"]
    assert {hashlib.md5((web.folder / "a.jpg").read_bytes()).hexdigest()} == {row[name] for name in FREE}
    assert OK == audit([str(listed.parent / "out")])


@pytest.mark.parametrize("name", ["key", "text", "status", "width", "exif", "sha256"])
def test_sums_may_have_any_name(name: str, listed: Path, web: Web) -> None:
    """Their column is read and not saved, so that it hides nothing of the ledger's."""
    assert OK == ingest(listed, web, "--verify_hash", name, "md5")
    ledger = read_ledger(Folder(listed.parent / "out"), "00000")
    assert ledger.schema.names == LEDGER.names
    assert [hashlib.sha256((web.folder / "a.jpg").read_bytes()).hexdigest()] == ledger["sha256"].to_pylist()
    assert OK == audit([str(listed.parent / "out")])
