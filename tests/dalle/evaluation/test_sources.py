"""What is judged: folders, samples of a generation, datasets of pairs; captions that are drawn; overlap that is left out."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.evaluation.captions import draw_captions, write_captions
from dalle.evaluation.overlap import kept_rows, read_overlap
from dalle.evaluation.pictures import open_source
from dalle.evaluation.samples import SampleSource
from schemas.folder import Folder
from tests.conftest import write_jpeg
from tests.examples import write_pictures

COCO_DRAWN = ["404", "2619", "3251"]
"""The first three of a thousand, by seed 0."""


def grey(path: Path, value: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(path, np.full((8, 8, 3), value, np.uint8))
    return path


def samples(folder: Path, rows: list[dict]) -> Path:
    for row in rows:
        if row.get("file") and "/.." not in f"/{row['file']}":
            grey(folder / row["file"])
    pq.write_table(pa.Table.from_pylist(rows), folder / "samples.parquet")
    return folder / "samples.parquet"


def test_a_folder(tmp_path: Path) -> None:
    """Ids are names relative to it, in the order of their parts."""
    for name in ("b/2.jpg", "a.jpg", "b/1.jpg"):
        grey(tmp_path / name)
    source = open_source(str(tmp_path), "--samples")
    assert ["a.jpg", "b/1.jpg", "b/2.jpg"] == [name for name, _ in source.pictures()] == list(source.ids())
    assert (3, "folder") == (len(source), source.kind)


def test_the_best_of_each_caption(tmp_path: Path) -> None:
    """As the paper judges: one picture a caption, the one of the highest score; without scores the first."""
    rows = [
        {"file": "0.jpg", "caption": "a kite", "score": 0.1},
        {"file": "1.jpg", "caption": "a kite", "score": 0.3},
        {"file": None, "caption": "a kite", "score": 0.9},
        {"file": "2.jpg", "caption": "a house", "score": None},
        {"file": "3.jpg", "caption": "a house", "score": None},
    ]
    samples(tmp_path, rows)
    for given_ in (tmp_path, tmp_path / "samples.parquet"):
        source = open_source(str(given_), "--samples")
        assert ["1.jpg", "2.jpg"] == [name for name, _ in source.pictures()] == list(source.ids())


def test_only_captions_that_were_drawn(tmp_path: Path) -> None:
    """White space aside; those without a picture are counted."""
    table = samples(tmp_path, [{"file": "0.jpg", "caption": "a kite"}, {"file": "1.jpg", "caption": "a house"}])
    source = open_source(str(table), "--samples", frozenset({"a  kite ", "a boat"}))
    assert ["0.jpg"] == [name for name, _ in source.pictures()]
    assert isinstance(source, SampleSource)
    assert 1 == source.captions_missing
    with pytest.raises(ValueError, match="names no pictures of the captions that were drawn"):
        open_source(str(table), "--samples", frozenset({"a boat"}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"picture": "0.jpg"}], "has no column file, but picture"),
        ([{"file": None}], "names no pictures"),
        ([{"file": "0.jpg", "caption": "a"}, {"file": "0.jpg", "caption": "b"}], "names one file for several captions"),
    ],
)
def test_tables_that_are_none(rows: list[dict], message: str, tmp_path: Path) -> None:
    if rows == [{"file": None}]:
        pq.write_table(pa.table({"file": pa.array([None], pa.string())}), tmp_path / "samples.parquet")
    else:
        samples(tmp_path, rows)
    with pytest.raises(ValueError, match=message):
        open_source(str(tmp_path), "--samples")


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "link/secret.jpg"])
def test_no_file_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    grey(tmp_path / "secret.jpg")
    folder = tmp_path / "drawn"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    pq.write_table(pa.table({"file": [name]}), folder / "samples.parquet")
    with pytest.raises(ValueError, match=r"expected a file's name inside the folder|is a symbolic link"):
        list(open_source(str(folder), "--samples").pictures())


ROW = {"file": "0.jpg", "caption": "a", "caption_id": "0", "score": 0.5, "sample": 0}
WRONG = {
    "file": (1, ["a"], b"\xff", 0.5, "", "..", "a\0b"),
    "caption": (1, ["a"], b"\xff", 0.5),
    "caption_id": (["a"], b"\xff", 0.5),
    "score": ("a", [0.5], True, math.nan),
    "sample": ("a", [0], 0.5, math.nan),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_values_of_another_kind_are_said_of_the_table(name: str, value: object, tmp_path: Path) -> None:
    """When it is opened, in a sentence that names it; with nothing in place of each it is read."""
    table = samples(tmp_path, [ROW])
    pq.write_table(pa.Table.from_pylist([{**ROW, name: value}]), table)
    with pytest.raises(ValueError, match=rf"samples.parquet: .*\b{name}\b") as caught:
        open_source(str(tmp_path), "--samples")
    assert "expected" in str(caught.value) or "is no number" in str(caught.value)
    if name != "file":
        pq.write_table(pa.Table.from_pylist([{**ROW, name: None}]), table)
        assert 1 == len(open_source(str(tmp_path), "--samples"))


def test_tables_that_are_no_parquet(tmp_path: Path) -> None:
    """Cut, changed in the middle, with texts that are none, or a pipe, which would be waited for."""
    table = samples(tmp_path, [ROW])
    whole = table.read_bytes()
    texts = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    for content in (b"", whole[:-20], whole[:-60] + b"\xff" * 52 + whole[-8:]):
        table.write_bytes(content)
        with pytest.raises(ValueError, match=r"samples.parquet: not a whole Parquet file"):
            open_source(str(tmp_path), "--samples")
    pq.write_table(pa.table({"file": texts}), table)
    with pytest.raises(ValueError, match=r"samples.parquet: not a whole Parquet file"):
        open_source(str(tmp_path), "--samples")
    pq.write_table(pa.table([["0.jpg"], ["1.jpg"]], names=["file", "file"]), table)
    with pytest.raises(ValueError, match="has 2 columns file, expected one"):
        open_source(str(tmp_path), "--samples")
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(ValueError, match=r"samples.parquet: is a pipe, expected a file"):
        open_source(str(table), "--samples")


def test_addresses_of_local_folders(tmp_path: Path) -> None:
    """`file://` is the folder; what lies elsewhere is told from it."""
    samples(tmp_path / "", [ROW])
    grey(tmp_path / "some" / "0.jpg")
    assert 1 == len(list(open_source(f"file://{tmp_path}/samples.parquet", "--samples").pictures()))
    assert 1 == len(list(open_source(f"file://{tmp_path}/some", "--samples").pictures()))
    with pytest.raises(ValueError, match="--samples memory://some: is no dataset, and pictures and samples are read"):
        open_source("memory://some", "--samples")


def test_a_dataset_of_pairs(tmp_path: Path) -> None:
    """Ids are those that dedup's lists of overlap have; the lineage is the dataset's, and the dataset."""
    folder = write_pictures(tmp_path / "pairs", (3, 2))
    source = open_source(folder, "--reference")
    names = [name for name, _ in source.pictures()]
    assert (5, 5) == (len(set(names)), len(source))
    assert ["00000000.png", "00000001.png"] == names[:2]
    assert ["dedup", "made up"] == [one["job"] for one in source.lineage]


@pytest.mark.parametrize("name", ["nothing", "file.jpg", "file.parquet"])
def test_what_is_no_source(name: str, tmp_path: Path) -> None:
    grey(tmp_path / "file.jpg")
    (tmp_path / "file.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=name):
        open_source(str(tmp_path / name), "--samples")


def coco(path: Path, count: int) -> Path:
    annotations = [{"id": 1000 - i, "image_id": i % 7, "caption": f"caption {i % 40}"} for i in range(count)]
    path.write_text(json.dumps({"images": [], "annotations": annotations}))
    return path


@given(count=st.integers(1, 60), seed=st.integers(0, 2**64 - 1))
def test_captions_are_drawn_by_the_seed(count: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without replacement, in the order of their ids, the same whatever the order of the file."""
    path = coco(tmp_path_factory.mktemp("coco") / "captions.json", 60)
    drawn = draw_captions(str(path), str(count), seed)
    ids = [int(one.id) for one in drawn]
    assert count == len(set(ids))
    assert sorted(ids) == ids
    value = json.loads(path.read_text())
    value["annotations"].reverse()
    path.write_text(json.dumps(value))
    assert drawn == draw_captions(str(path), str(count), seed)


def test_all_captions_that_differ(tmp_path: Path) -> None:
    """As the paper has it for CUB: each text once; also of a dataset of pairs."""
    drawn = draw_captions(str(coco(tmp_path / "captions.json", 60)), "all", 0)
    assert 40 == len({one.text for one in drawn}) == len(drawn)
    pairs = write_pictures(tmp_path / "pairs", (3, 2))
    assert [("00000000#0", "grey")] == [(one.id, one.text) for one in draw_captions(pairs, "all", 0)]
    assert 5 == len(draw_captions(pairs, "5", 0))
    write_captions(Folder(tmp_path), drawn)
    lines = (tmp_path / "captions.jsonl").read_text().splitlines()
    assert [one.id for one in drawn] == [json.loads(line)["id"] for line in lines]
    assert [one.text for one in drawn] == (tmp_path / "captions.txt").read_text().splitlines()


def test_coco_itself(data: Path) -> None:
    """Of 25,014 captions of val2017; the same ids as ever."""
    path = str(data / "text" / "captions_val2017.json")
    drawn = draw_captions(path, "1000", 0)
    assert COCO_DRAWN == [one.id for one in drawn[:3]]
    assert drawn == draw_captions(path, "1000", 0) != draw_captions(path, "1000", 1)
    with pytest.raises(ValueError, match=r"--captions 30000: .* has 25,014 captions; give at most as many, or all"):
        draw_captions(path, "30000", 0)


@pytest.mark.parametrize(
    "content",
    ["[]", '{"annotations": [{"id": 1}]}', "{", '{"annotations": [{"id": 1, "image_id": 2, "caption": " "}]}']
    + [f'{{"annotations": {value}}}' for value in ("null", "5", '{"a": 1}', '["ab"]')]
    + [
        f'{{"annotations": [{{"id": {value}, "image_id": 1, "caption": "a"}}]}}'
        for value in ("[1]", "null", "NaN", "1e9")
    ],
)
def test_captions_that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_text(content)
    with pytest.raises(ValueError, match=r"captions.json: not COCO's captions JSON"):
        draw_captions(str(tmp_path / "captions.json"), "1", 0)


@pytest.mark.parametrize("name", ["captions.json", "captions.jsonl"])
def test_half_a_character_is_no_caption(name: str, tmp_path: Path) -> None:
    """JSON can name it, no file can hold it."""
    one = '{"id": 1, "image_id": 1, "caption": "a \\ud800"}'
    (tmp_path / name).write_text(f'{{"annotations": [{one}]}}' if name.endswith(".json") else one)
    with pytest.raises(ValueError, match=rf"--captions_from .*/{name}: 'a .ud800' is no text"):
        draw_captions(str(tmp_path / name), "1", 0)


@given(gone=st.sets(st.integers(0, 9), min_size=1, max_size=8))
def test_overlap_is_left_out(gone: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Kept and left out are all, each once; names are escaped as dedup's list has them."""
    ids = [f"{number} \u202e.jpg" for number in range(10)]
    path = tmp_path_factory.mktemp("overlap") / "overlap-coco.txt"
    path.write_text("".join(f"{number} \\u202e.jpg\n" for number in gone))
    kept = kept_rows(ids, read_overlap(path), path)
    assert set(range(10)) == set(kept.tolist()) | gone
    assert not set(kept.tolist()) & gone


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, so no reference has a copy"),
        (b"\xff\n", "is no text"),
        (b"0.jpg\nstrange.jpg\n", "1 of its 2 references are not among those given, the first is 'strange.jpg'"),
        (b"0.jpg\n1.jpg\n", "leaves 1 of 3 references"),
    ],
)
def test_lists_that_do_not_fit(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "overlap-coco.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        kept_rows(["0.jpg", "1.jpg", "2.jpg"], read_overlap(path), path)
