"""Sums of the fetched bytes: stored, compared with the list's, and what of the EXIF tags is kept."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from pipelines.audit import main as audit
from pipelines.ingest import main
from schemas.exit_codes import NOTHING_KEPT, OK
from schemas.folder import Folder
from schemas.pair_shards import read_ledger
from schemas.shards import read_tar
from tests.server import Web


def picture(colour: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.fixture
def sums(web: Web, tmp_path: Path) -> tuple[Path, list[bytes]]:
    """A list of four: the right sum in capitals, a wrong one, none, and one that is not there any more."""
    pictures = [picture(colour) for colour in ("red", "green", "blue")]
    for number, data in enumerate(pictures):
        (web.folder / f"sum-{number}.jpg").write_bytes(data)
    right = [hashlib.md5(data).hexdigest() for data in pictures]
    path = tmp_path / "list.parquet"
    names = [f"sum-{number}.jpg" for number in range(3)] + ["gone.jpg"]
    table = {
        "url": [web.url(name) for name in names],
        "caption": ["a boat on a lake"] * 4,
        "sha256": [right[0].upper(), right[0], None, right[0]],
    }
    pq.write_table(pa.table(table), path)
    return path, pictures


def collect(links: Path, web: Web, out: Path, *more: str) -> list[dict]:
    flags = ["--url_list", str(links), "--output_folder", str(out), "--allow_private_hosts", web.address]
    code = main([*flags, "--processes_count", "1", "--image_size", "32", *more])
    assert 0 == audit([str(out)])
    rows = list(read_ledger(Folder(out), "00000").to_pylist())
    assert code == (OK if any(row["status"] == "success" for row in rows) else NOTHING_KEPT)
    return rows


def test_a_changed_picture_fails(sums: tuple[Path, list[bytes]], web: Web, tmp_path: Path) -> None:
    """Compared whatever the case of the list's digits; its column is read, and only its own sum is in the ledger."""
    links, pictures = sums
    rows = collect(links, web, tmp_path / "pairs", "--verify_hash", '["sha256","md5"]', "--compute_hash", "md5")
    assert ["success", "failed_to_download", "success", "failed_to_download"] == [row["status"] for row in rows]
    assert [None, "hash-mismatch", None, "http-404"] == [row["reason"] for row in rows]
    actual, listed = (hashlib.md5(pictures[number]).hexdigest() for number in (1, 0))
    assert f"md5 is {actual}, the list says {listed}" == rows[1]["error_message"]
    assert [listed, None, hashlib.md5(pictures[2]).hexdigest(), None] == [row["md5"] for row in rows]
    assert hashlib.sha256(pictures[0]).hexdigest() == rows[0]["sha256"]
    assert rows[3]["sha256"] is None
    with (tmp_path / "pairs" / "00000.tar").open("rb") as file:
        said = json.loads(next(read_tar(file, "tar"))[1]["json"])
    assert (listed, hashlib.sha256(pictures[0]).hexdigest()) == (said["md5"], said["sha256"])


def test_another_try_verifies_as_well(web: Web, tmp_path: Path) -> None:
    """What is fetched again is compared with the list's column where the ledger has it; else the flag is refused."""
    data = picture("red")
    (web.folder / "later.jpg").write_bytes(data)
    rows = [
        {"url": web.url("twice/503/later.jpg"), "caption": "a boat on a lake", "sum": hashlib.sha512(data).hexdigest()},
        {"url": web.url("twice/500/later.jpg"), "caption": "a boat on a lake", "sum": "0" * 128},
    ]
    links = tmp_path / "list.jsonl"
    links.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--verify_hash", "sum", "sha512", "--save_additional_columns", "sum", "--retries", "0"]
    before = collect(links, web, tmp_path / "pairs", *flags)
    assert ["http-5xx", "http-5xx"] == [row["reason"] for row in before]
    after = collect(links, web, tmp_path / "pairs", *flags, "--incremental_mode", "retry")
    assert [None, "hash-mismatch"] == [row["reason"] for row in after]


def test_tags_are_kept_unless_told_not_to(sums: tuple[Path, list[bytes]], web: Web, tmp_path: Path) -> None:
    """--extract_exif, as img2dataset has it."""
    links, _ = sums
    assert {"Make": "a camera"} == json.loads(collect(links, web, tmp_path / "with")[0]["exif"])
    assert collect(links, web, tmp_path / "without", "--extract_exif", "False")[0]["exif"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--verify_hash", "sum"], "--verify_hash sum: expected a column and one of md5, sha256, sha512"),
        (["--verify_hash", "sum", "crc32"], "expected a column and one of"),
        (["--verify_hash", "url", "md5"], "url is no column of sums"),
        (["--verify_hash", "[1]"], "--verify_hash [1]: expected words, or a list of strings"),
        (["--compute_hash", "md5", "--save_additional_columns", "md5"], "leave one of them out"),
        (["--verify_hash", "sum", "md5", "--incremental_mode", "retry"], "does not have the column 'sum'"),
        (["--save_additional_columns", "[a"], "--save_additional_columns [a: expected words, or a list of strings"),
        (["--save_additional_columns", "place"], "this name has another meaning on the way"),
        (["--dataset", "folder", "--save_additional_columns", "n"], "has no columns beyond pictures and captions"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture, flags: list[str], message: str) -> None:
    """The flag, what was found and what was expected, exit code 2."""
    assert 2 == main(flags)
    assert message in capsys.readouterr().err


def test_a_column_that_is_not_there(sums: tuple[Path, list[bytes]], tmp_path: Path, capsys: object) -> None:
    """Is named before anything begins."""
    assert 2 == main(["--url_list", str(sums[0]), "--output_folder", str(tmp_path / "x"), "--verify_hash", "q", "md5"])
    assert "has no column 'q'" in capsys.readouterr().err  # type: ignore[attr-defined]
