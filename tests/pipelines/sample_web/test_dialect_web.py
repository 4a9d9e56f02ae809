"""The web of the zero-shot trial: never a held-out combination, the same bytes however often its drawing was stopped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dalle.scenes.dialect import read_caption
from dalle.scenes.dialect.held_out import HELD_OUT, KIND, OTHER_KIND, PAIRS, RELATION
from dalle.scenes.dialect.words import OPPOSITE
from pipelines.ingest import main
from pipelines.sample_web import DialectWeb, build_dialect

ROWS = 40


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> DialectWeb:
    return build_dialect(tmp_path_factory.mktemp("web"), ROWS)


def sums(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def captions(file: Path, column: str) -> list[str]:
    said = [json.loads(line)[column] for line in file.open()]
    return [caption for one in said for caption in ([one] if isinstance(one, str) else one)]


def test_a_web_that_was_stopped_while_it_was_drawn_becomes_the_same(web: DialectWeb, tmp_path: Path) -> None:
    whole = sums(web.folder)
    assert len(list(web.files.iterdir())) == ROWS
    assert len(list(web.evaluation.glob("*.png"))) == 1_000
    again = build_dialect(tmp_path, ROWS)
    (again.folder / "dialect.json").unlink()
    again.links.unlink()
    for path in [*sorted(again.files.iterdir())[::3], *sorted(again.evaluation.glob("*.png"))[::3]]:
        path.unlink()
    build_dialect(tmp_path, ROWS)
    assert sums(tmp_path) == whole


def test_what_is_held_out_is_asked_for_and_never_shown(web: DialectWeb) -> None:
    for name, expected in (("unseen.jsonl", True), ("seen.jsonl", False)):
        said = captions(web.folder / name, "caption")
        assert len(said) == 500
        assert all(is_held_out(caption) == expected for caption in said)
    assert not any(map(is_held_out, captions(web.links, "caption")))
    files = [json.loads(line)["file"] for line in (web.evaluation / "captions.jsonl").open()]
    assert Counter(name.partition("-")[0] for name in files) == {"unseen": 500, "seen": 500}


def is_held_out(caption: str) -> bool:
    said = read_caption(caption)
    first, *others = (kind for kind, _ in said.things)
    around = {(first, said.relation, other) for other in others}
    if said.relation is not None:
        around |= {(other, OPPOSITE[said.relation], first) for other in others}
    assert HELD_OUT.relations == ((KIND, RELATION, OTHER_KIND),)
    return bool(set(said.things) & set(PAIRS)) or (KIND, RELATION, OTHER_KIND) in around


def test_it_is_served_and_collected_whole(web: DialectWeb, tmp_path: Path) -> None:
    flags = ["--sample_web", "dialect", "--sample_rows", str(ROWS), "--sample_folder", str(web.folder)]
    assert main([*flags, "--output_folder", str(tmp_path / "pairs"), "--image_size", "64"]) == 0
    ledger = pq.read_table(tmp_path / "pairs/00000.parquet").to_pylist()
    assert [row["status"] for row in ledger] == ["success"] * ROWS
    assert {(row["width"], row["height"]) for row in ledger} == {(64, 64)}
    assert all(len(row["captions"]) >= 1 for row in ledger)
    assert [caption for row in ledger for caption in row["captions"]] == captions(web.links, "caption")
