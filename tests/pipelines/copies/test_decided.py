"""Decisions that name what is not there: an error or a counted sentence, whatever it is and wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dalle.scenes import compose, draw
from pipelines.dedup import main
from pipelines.ingest import main as ingest
from schemas.folder import Folder
from schemas.matches import read_decisions
from tests.conftest import write_jpeg

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures in shards of three, of which one cannot be decoded, and two references."""
    place = tmp_path_factory.mktemp("decided")
    for folder in ("pictures", "birds"):
        (place / folder).mkdir()
    for number in range(6):
        write_jpeg(place / f"pictures/{number}.jpg", draw(compose(number, 280, 280)))
    (place / "pictures/broken.jpg").write_bytes(b"broken")
    for number in range(2):
        write_jpeg(place / f"birds/{number}.jpg", draw(compose(100 + number, 280, 280)))
    flags = ["--dataset", "folder", "--url_list", place / "pictures", "--output_folder", place / "pairs"]
    flags += ["--number_sample_per_shard", 3, "--filters", "none", "--processes_count", 1]
    assert 0 == ingest(list(map(str, flags)))
    flags = ["--input_folder", place / "pairs", "--output_folder", place / "clean", "--detector", "phash"]
    assert 0 == main(list(map(str, [*flags, "--reference", f"birds={place / 'birds'}", "--processes_count", 1])))
    return place


def dedup(world: Path, out: Path, pairs: list[dict[str, str]], *more: str) -> int:
    (out.parent / "decisions.json").write_text(json.dumps({"detector": "phash-64-v1", "pairs": pairs}))
    flags = ["--input_folder", world / "pairs", "--output_folder", out, "--detector", "phash", "--processes_count", 1]
    flags += ["--reference", f"birds={world / 'birds'}", f"stored={world / 'clean/dedup/references/birds'}"]
    return main([str(flag) for flag in (*flags, "--decisions", out.parent / "decisions.json", *more)])


def pair(name: str, key: str, reference: str, decision: str = "copy") -> dict[str, str]:
    return {"reference_set": name, "key": key, "reference_id": reference, "decision": decision}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([pair("birds", "000009", "0.jpg")], "the dataset has no picture '000009'; review its pairs again"),
        ([pair("birds", "00000x", "0.jpg"), pair("stored", "99", "1.jpg")], "no picture '00000x' and 1 more; review"),
        ([pair("birds", "", "0.jpg")], "the dataset has no picture ''; review"),
        ([pair("birds", "000000", "9.jpg")], "the reference set birds has no '9.jpg'; review its pairs again"),
        ([pair("stored", "000000", "9.jpg"), pair("stored", "000001", "8.jpg")], "set stored has no '8.jpg' and 1 more"),
        ([pair("within", "000000", "000109")], "the dataset has no picture '000109'; review"),
        ([pair("within", "000000", "000000")], "000000 and 000000 are decided on twice, or are one picture"),
        ([pair("birds", "000000", "0.jpg"), pair("birds", "000000", "0.jpg", "different")], "are decided on twice"),
        ([pair("within", "000000", "000001"), pair("within", "000001", "000000", "different")], "are decided on twice"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_an_error(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture, pairs: list[dict[str, str]], message: str
) -> None:
    """Exit 2 and one sentence, before anything is embedded."""
    assert 2 == dedup(world, tmp_path / "out", pairs, "--within")
    told = capsys.readouterr().err.splitlines()
    assert message in told[-1]
    assert not (tmp_path / "out/img_emb").exists()


def test_what_is_not_looked_at_is_counted(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Other sets, copies inside the dataset without --within, pictures that were not kept; what is left is applied."""
    pairs = [pair("cooc", "000000", "a.jpg"), pair("cooc", "xyz", "b.jpg"), pair("within", "000000", "000001")]
    pairs += [pair("birds", "000020", "0.jpg"), pair("birds", "000001", "1.jpg")]
    assert 0 == dedup(world, tmp_path / "out", pairs)
    told = capsys.readouterr().err
    assert (
        "decisions: 2 are about the reference set 'cooc'; this run has birds, stored, and they are not applied" in told
    )
    assert "decisions: 1 are about copies inside the dataset, for --within; this run has" in told
    assert "decisions: 1 are about pictures that the dataset does not keep, first '000020'" in told
    assert ["1.jpg"] == (tmp_path / "out/dedup/overlap-birds.txt").read_text().split()
    assert 0 == dedup(world, tmp_path / "again", pairs[3:] + pairs[2:3], "--within")
    assert "for --within" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [lambda p: p.pop("key"), lambda p: p.update(key=3), lambda p: p.update(decision="copies")]
)
def test_what_is_no_decision_is_an_error(tmp_path: Path, change: Any) -> None:
    """A missing or mistyped part, in whichever pair."""
    pairs = [pair("birds", "000000", "0.jpg"), pair("birds", "000001", "0.jpg")]
    change(pairs[1])
    (tmp_path / "d.json").write_text(json.dumps({"detector": "d", "pairs": pairs}))
    with pytest.raises(ValueError, match=r"d\.json, pair 1: "):
        read_decisions(Folder(tmp_path), "d.json", "d")
