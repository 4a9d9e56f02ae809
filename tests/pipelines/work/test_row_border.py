"""One row can fail only itself: by what it raises, by what it does to its decoder, by values that cannot be had."""

from __future__ import annotations

import builtins
import errno
import io
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from dalle.scenes import compose, draw
from pipelines.auditing.audit_pairs import audit_pairs
from pipelines.fetching.options import FetchOptions
from pipelines.ingest import main
from pipelines.running.report import print_unexpected
from pipelines.running.row_border import STORES, row_border
from pipelines.stages.decode import PictureOptions, to_stored
from pipelines.stages.filter import FilterOptions
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.beginning import Beginning
from pipelines.work.decoding import limits_of
from pipelines.work.journey import Journey
from pipelines.work.record import Record, ledger_of
from schemas.folder import Folder
from schemas.manifest import Counts, read_manifest
from schemas.pairs import ledger_schema
from schemas.reasons import REASONS, STATUS_OF_STAGE, UNEXPECTED, NotKept
from tests.conftest import hashes, run_job
from tests.pipelines.work import planted

LIMITS = FilterOptions(filters="none").thresholds()


def picture(width: int, number: int) -> bytes:
    """A BMP of this width."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(draw(compose(number, 200, 200))[: 20 + number, :width])).save(out, "BMP")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty good pictures with some among them whose decoders fail."""
    place = tmp_path / "in"
    place.mkdir()
    bad = {
        3: planted.SEGFAULT, 4: planted.SEGFAULT, 9: planted.MEMORY, 12: planted.ABORT, 17: planted.UNFORESEEN, 20: planted.ONCE,
        25: planted.SPIN, 31: planted.ONCE, 38: planted.SEGFAULT,
    }  # fmt: skip
    for number in range(40):
        (place / f"{number:02d}.bmp").write_bytes(picture(bad.get(number, 60), number))
        (place / f"{number:02d}.txt").write_text("a picture of some words")
    return place


REASON_OF = {
    planted.SEGFAULT: "decoder-crashed", planted.ABORT: "decoder-crashed", planted.MEMORY: "decoder-memory",
    planted.SPIN: "decoder-time", planted.UNFORESEEN: UNEXPECTED,
}  # fmt: skip


@pytest.mark.slow
def test_a_picture_that_ends_its_decoder_costs_its_own_row(folder: Path, tmp_path: Path) -> None:
    """Real processes die of real signals; every other row is what it is by itself, and the job ends well."""
    flags = ["--dataset", "folder", "--url_list", folder, "--filters", "none", "--image_size", 32]
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    done = run_job(
        "tests.pipelines.work.planted",
        *(*flags, "--processes_count", 2, "--number_sample_per_shard", 15, "--output_folder", out),
        env={"MARKS": str(marks)},
    )
    assert 0 == done.returncode, done.stderr
    assert 2 == len(list(marks.iterdir())), "the planted accidents happened"
    assert "1 of 40 rows failed in a way that nobody foresaw, more than one in a thousand" in done.stderr
    assert "\x1b[31m this" not in done.stderr + done.stdout
    rows = [row for file in sorted(out.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert 40 == len(rows)
    for row in rows:
        data = (folder / row["url"]).read_bytes()
        assert REASON_OF.get(Image.open(io.BytesIO(data)).width) == row["reason"]
        if row["reason"] is None:
            assert to_stored(data, PictureOptions(image_size=32)).columns["stored_sha256"] == row["stored_sha256"]
    assert "SIGSEGV" in rows[3]["error_message"]
    assert "KeyError" in rows[17]["error_message"]
    dataset = Folder(str(out))
    for shard in read_manifest(dataset)["shards"]:
        assert [] == list(audit_pairs(dataset, shard, 15))


def raised_by_builtins() -> list[Exception]:
    """One of every exception there is, and of those that libraries add to them."""
    made: list[Exception] = [struct.error("x"), pa.ArrowInvalid("x"), OSError("no number"), EOFError()]
    for name in dir(builtins):
        kind = getattr(builtins, name)
        if (
            isinstance(kind, type)
            and issubclass(kind, Exception)
            and not issubclass(kind, ExceptionGroup | OSError | MemoryError)
        ):
            args = (
                ("utf-8", b"x", 0, 1, "x")
                if kind is UnicodeDecodeError
                else ("utf-8", "x", 0, 1, "x")
                if kind is UnicodeEncodeError
                else ("x", 0, 1, "x")
                if kind is UnicodeTranslateError
                else ("x",)
            )
            made.append(kind(*args))
    return made


@pytest.mark.parametrize("stage", STATUS_OF_STAGE)
def test_what_a_rows_data_raise_is_its_fate(stage: str) -> None:
    """Whatever it is, in whichever stage; in one line that a terminal may see."""
    for error in raised_by_builtins():
        told: list[NotKept] = []
        with row_border("00003, http://a.test", stage, told.append):
            raise error
        columns = told[0].columns()
        assert (UNEXPECTED, stage, STATUS_OF_STAGE[stage]) == (columns["reason"], columns["stage"], columns["status"])
        assert (columns["error_message"] or "").startswith(type(error).__name__)
    told = []
    with row_border("00003", stage, told.append):
        raise ValueError("a\nb\x1b[2J\u202ec\ud800" + "x" * 9_000)
    message = str(told[0].message)
    assert message.isprintable()
    assert len(message) <= 500
    message.encode()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENOENT, errno.EPIPE, errno.ECONNRESET])
def test_what_the_machine_raises_names_the_row_and_goes_on_up(number: int) -> None:
    """With its own kind, so that who catches it above still knows it."""
    with (
        pytest.raises(OSError, match=r"at the row 00003, http://a\.test") as caught,
        row_border("00003, http://a.test", "decode", pytest.fail),
    ):
        raise OSError(number, "what it was", "/a/file")
    assert (number, "/a/file") == (caught.value.errno, caught.value.filename)


def test_memory_and_stores_are_the_machines() -> None:
    """A store's package has errors of its own, which are no OSErrors."""
    with pytest.raises(MemoryError, match="at the row x"), row_border("x", "read", pytest.fail):
        raise MemoryError
    for store in STORES:
        kind = type("ClientError", (Exception,), {"__module__": f"{store}.exceptions"})
        with (
            pytest.raises(RuntimeError, match="at the row x: ClientError: gone"),
            row_border("x", "fetch", pytest.fail),
        ):
            raise kind("gone")


def test_a_value_that_cannot_be_had() -> None:
    """Of one row: a time beyond Python's years. Its neighbours are read, and so is all else of it."""
    table = pa.table(
        {
            "url": ["http://a.test/1", "http://a.test/2", "http://a.test/3"],
            "captions": [["a"], ["b"], ["c"]],
            "place": pa.nulls(3, pa.string()),
            "problem": pa.nulls(3, pa.string()),
            "seen": pa.array([0, 2**62, 1], pa.timestamp("s")),
        }
    )
    with pytest.raises((ValueError, OverflowError)):
        table.to_pylist()
    beginning = Beginning(shard="00000", rows_per_shard=10, limits=LIMITS)
    first, second, third = beginning.records(table)
    assert first.is_open
    assert third.is_open
    columns = second.columns
    assert ("000001", "http://a.test/2", UNEXPECTED, "read") == (
        columns["key"],
        columns["url"],
        columns["reason"],
        columns["stage"],
    )
    assert "column seen" in columns["error_message"]
    ledger = ledger_of([first, second, third], ledger_schema(pa.schema([("seen", pa.timestamp("s"))])))
    assert 3 == ledger.num_rows


def test_a_value_that_fits_no_ledger() -> None:
    """What cannot be written is left out of the row that has it, which says so."""
    rows = [Record(n, dict.fromkeys(ledger_schema().names) | {"key": str(n), "status": "success"}) for n in range(3)]
    rows[1].columns |= {"caption": "\ud800", "width": 2**40}
    ledger = ledger_of(rows, ledger_schema()).to_pylist()
    assert ["success", "failed_to_resize", "success"] == [row["status"] for row in ledger]
    assert (None, None, UNEXPECTED) == (ledger[1]["caption"], ledger[1]["width"], ledger[1]["reason"])


class Full(io.BytesIO):
    """A spool on a disk that has no room."""

    def write(self, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_fails_the_unit_and_names_the_row(tmp_path: Path) -> None:
    """It says nothing of the picture."""
    (tmp_path / "a.bmp").write_bytes(picture(60, 1))
    journey = Journey(
        limits=LIMITS, pictures=PictureOptions(), fetching=FetchOptions(), hashes=HashOptions(), rows_per_shard=10, local_folder=str(tmp_path),
    )  # fmt: skip
    row = {"url": "a.bmp", "captions": [], "place": "a.bmp", "problem": None}
    table = pa.Table.from_pylist(
        [row],
        schema=pa.schema(
            [
                ("url", pa.string()),
                ("captions", pa.list_(pa.string())),
                ("place", pa.string()),
                ("problem", pa.string()),
            ]
        ),
    )
    records = Beginning(shard="00000", rows_per_shard=10, limits=LIMITS).records(table)
    with pytest.raises(OSError, match=r"No space left on device .at the row 000000, a\.bmp"):
        list(journey.fates(records, Full()))


@pytest.mark.parametrize(("rows", "loud"), [(0, False), (1, False), (2, True)])
def test_many_unforeseen_rows_are_loud(rows: int, loud: bool, capsys: pytest.CaptureFixture) -> None:
    """Above one in a thousand, on standard error."""
    counts = Counts(
        Counter({"failed_to_resize": rows, "success": 1_500 - rows}), Counter({("decode", UNEXPECTED): rows})
    )
    print_unexpected(counts, ["KeyError: 'a'"] * rows)
    out, err = capsys.readouterr()
    assert bool(err) == loud
    assert ("rows failed in a way that nobody foresaw" in (err if loud else out)) == bool(rows)
    assert ("KeyError: 'a'" in out + err) == bool(rows)
    print_unexpected(counts, [], Console(file=io.StringIO()))


def test_every_reason_has_its_stages() -> None:
    """One each, but for what may come up anywhere."""
    for word, reason in REASONS.items():
        assert (tuple(STATUS_OF_STAGE) if word == UNEXPECTED else (reason.stage,)) == reason.stages
    with pytest.raises(AssertionError):
        NotKept("corrupt", stage="fetch")


def test_the_same_bytes_however_they_are_batched(folder: Path, tmp_path: Path) -> None:
    """One at a time or all at once: batches depend on time, bytes do not."""
    flags = ["--dataset", "folder", "--url_list", str(folder), "--filters", "none", "--processes_count", "1"]
    made = []
    for name, items in (("one", 1), ("many", 32)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dalle.sandbox.session._ITEMS", items)
            assert 0 == main([*flags, "--output_folder", str(tmp_path / name)])
        made.append(hashes(tmp_path / name))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 30),
        ({"image_size": 1_000, "encode_format": "png", "encode_quality": 9}, 34),
        ({"resize_mode": "no"}, 40),
        ({"resize_mode": "no", "encode_format": "png", "encode_quality": 9}, 430),
        ({"resize_mode": "no", "encode_format": "png", "encode_quality": 9, "max_pixels": 200_000_000}, 860),
        ({"resize_only_if_bigger": True, "encode_format": "webp"}, 80),
    ],
)
def test_slow_formats_have_their_time(options: dict, seconds: float) -> None:
    """A hundred megapixels as PNG of level 9 take minutes, and that is no fault of the picture's."""
    assert seconds == pytest.approx(limits_of(PictureOptions(**options)).seconds, abs=1)
