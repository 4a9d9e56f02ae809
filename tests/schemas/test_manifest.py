"""Counts add up or the job fails; a manifest follows from inputs and options alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.folder import FileRecord, Folder
from schemas.manifest import Counts, Marker, manifest, marker_name, read_manifest
from schemas.reasons import REASONS

fates = st.lists(st.sampled_from([None, *REASONS]), max_size=40)


def ledger(found: list[str | None]) -> pa.Table:
    columns = [
        {"status": "success", "stage": None, "reason": None}
        if reason is None
        else {"status": REASONS[reason].status, "stage": REASONS[reason].stage, "reason": reason}
        for reason in found
    ]
    schema = pa.schema([(name, pa.string()) for name in ("status", "stage", "reason")])
    return pa.Table.from_pylist(columns, schema=schema)


@given(fates)
def test_every_row_is_counted_once(found: list[str | None]) -> None:
    """kept + refused + failed + removed = rows, and the reasons are those of the rows."""
    counts = Counts.of_ledger(ledger(found))
    assert len(found) == counts.kept + counts.refused + counts.failed + counts.removed
    assert Counter(r for r in found if r) == Counter({reason: n for (_, reason), n in counts.reasons.items()})
    counts.check(len(found), "here")
    with pytest.raises(ValueError, match="should account for"):
        counts.check(len(found) + 1, "here")


@given(fates, fates)
def test_counts_add_and_survive_json(a: list[str | None], b: list[str | None]) -> None:
    """The sum of two ledgers' counts is that of both; JSON loses nothing."""
    both = Counts.of_ledger(ledger(a)) + Counts.of_ledger(ledger(b))
    assert Counts.of_ledger(ledger(a + b)).to_json() == both.to_json()
    assert both.to_json() == Counts.of_json(both.to_json()).to_json()


def test_unknown_status_is_a_fault() -> None:
    """A status that nobody knows does not pass as accounted for."""
    with pytest.raises(ValueError, match="unknown: "):
        Counts(Counter({"lost": 1}), Counter({("x", "y"): 1})).check(1, "here")


def _marker(shard: str, host: str) -> Marker:
    counts = Counts(Counter({"success": 2}))
    return Marker(
        shard=shard, fingerprint="f", counts=counts, files=(FileRecord(f"{shard}.tar", "s", 3),), run={"host": host}
    )


def test_manifest_does_not_know_host_or_order() -> None:
    """Markers in another order and from other machines give the same manifest."""
    made = [
        manifest(
            job="ingest", table="pairs", options={"a": 1}, inputs=[{"name": "l", "sha256": "x"}],
            library_versions={"numpy": "1"}, markers=markers,
        )
        for markers in ([_marker("00000", "a"), _marker("00001", "b")], [_marker("00001", "c"), _marker("00000", "d")])
    ]  # fmt: skip
    assert made[0] == made[1]


def test_marker_round_trip(tmp_path: Path) -> None:
    """What a marker says is what is read of it, and img2dataset's keys are there."""
    folder = Folder(tmp_path)
    marker = _marker("00007", "here")
    folder.write_json(marker_name("00007"), marker.to_json())
    found = Marker.read(folder, "00007")
    assert (marker.fingerprint, marker.files, marker.counts) == (found.fingerprint, found.files, found.counts)
    assert {
        "count": 2,
        "successes": 2,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {"success": 2},
    } == {
        key: found.run[key] for key in ("count", "successes", "failed_to_download", "failed_to_resize", "status_dict")
    }


def test_foreign_marker_is_one_sentence(tmp_path: Path) -> None:
    """img2dataset's own stats file is not taken for ours."""
    (tmp_path / "00000_stats.json").write_text('{"count": 3}')
    with pytest.raises(ValueError, match="was not made by this job"):
        Marker.read(Folder(tmp_path), "00000")


@pytest.mark.parametrize(("content", "message"), [
    (None, "is not a finished dataset"),
    ('{"format_version": 99}', "format_version is 99, expected 1"),
    ("[]", "format_version is None, expected 1"),
    ("{", "not JSON"),
])  # fmt: skip
def test_unreadable_manifests(tmp_path: Path, content: str | None, message: str) -> None:
    """A folder without a manifest we know is refused in one sentence."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_manifest(Folder(tmp_path))
