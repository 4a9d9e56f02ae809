"""References of every kind: which pictures they are, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dalle.detectors.phash import PHash
from dalle.scenes import compose, draw
from pipelines.copies.references import ReferenceArgument, find_references
from pipelines.copies.stored_vectors import find_stored_vectors
from pipelines.dedup import main
from pipelines.ingest import main as ingest
from schemas.exit_codes import NOTHING_KEPT, USAGE
from tests.conftest import write_jpeg


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures in every form that a reference set may have; a dataset holds two of them among six."""
    root = tmp_path_factory.mktemp("references")
    folder, pictures = root / "val", root / "pictures"
    folder.mkdir()
    pictures.mkdir()
    for number in range(4):
        write_jpeg(folder / f"{number:012d}.jpg", draw(compose(number, 300, 300)))
    for number in range(6):
        if number < 2:
            shutil.copy(folder / f"{number:012d}.jpg", pictures / f"p{number}.jpg")
        else:
            write_jpeg(pictures / f"p{number}.jpg", draw(compose(100 + number, 300, 300)))
    captions = [{"file": f"{n:012d}.jpg", "captions": [f"scene {n}"]} for n in range(4)]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in captions))
    coco = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in range(4)],
        "annotations": [{"id": n, "image_id": n, "caption": f"scene {n}"} for n in range(4)],
    }
    (root / "captions_val2017.json").write_text(json.dumps(coco))
    (root / "list.txt").write_text("".join(f"{folder}/{n:012d}.jpg\n" for n in range(4)))
    for source, out, more in (
        (folder, "set-tar", []),
        (folder, "set-parquet", ["--output_format", "parquet"]),
        (pictures, "pairs", []),
    ):
        if source == pictures:
            for path in pictures.glob("*.jpg"):
                path.with_suffix(".txt").write_text("a picture")
        flags = [
            "--dataset",
            "folder",
            "--url_list",
            source,
            "--output_folder",
            root / out,
            "--filters",
            "none",
            *more,
        ]
        assert 0 == ingest([*map(str, flags), "--number_sample_per_shard", "3", "--processes_count", "1"])
    (root / "tars").mkdir()
    for path in (root / "set-tar").glob("*.tar"):
        shutil.copy(path, root / "tars")
    return root


def run(world: Path, out: Path, reference: object, *more: object) -> int:
    flags = ["--input_folder", world / "pairs", "--output_folder", out, "--detector", "phash", "--processes_count", 1]
    return main([str(flag) for flag in (*flags, "--reference", f"val={reference}", *more)])


def denied(folder: Path) -> dict[str, str]:
    rows = pq.read_table(folder / "dedup/denylist.parquet").to_pylist()
    return {Path(row["url"]).name: row["reference_id"] for row in rows}


KINDS = (
    "val",
    "val/*.jpg",
    "list.txt",
    "captions_val2017.json,{world}/val",
    "tars",
    "tars/*.tar",
    "set-tar",
    "set-parquet",
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_same_pictures(world: Path, kind: str) -> None:
    """Ids in order, captions where they are known, the very bytes."""
    argument = ReferenceArgument.parse(f"val={world}/{kind.format(world=world)}")
    references = find_references(argument)
    assert 4 == len(references)
    if "set" in kind or "tars" in kind:
        assert ["000000.jpg", "000001.jpg", "000002.jpg", "000010.jpg"] == [reference.id for reference in references]
    else:
        assert [f"{n:012d}.jpg" for n in range(4)] == [reference.id for reference in references]
        files = [(world / f"val/{n:012d}.jpg").read_bytes() for n in range(4)]
        assert files == [reference.read() for reference in references]
    assert all(reference.read().startswith(b"\xff\xd8") for reference in references)
    if kind not in ("val/*.jpg", "list.txt"):
        assert [f"scene {n}" for n in range(4)] == [reference.caption for reference in references]


@pytest.fixture(scope="module")
def clean(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "clean"
    assert 0 == run(world, out, world / "val")
    return out


def test_earlier_references_are_used_as_they_are(world: Path, clean: Path, tmp_path: Path) -> None:
    """The vectors that an earlier run left of a set find the same copies, without its pictures."""
    assert {"p0.jpg": "000000000000.jpg", "p1.jpg": "000000000001.jpg"} == denied(clean)
    stored = tmp_path / "earlier"
    shutil.copytree(clean / "dedup/references/val", stored)
    assert 0 == run(world, tmp_path / "out", stored)
    assert denied(clean) == denied(tmp_path / "out")
    for name in ("img_emb_00000.npy", "references.parquet"):
        again = tmp_path / "out/dedup/references/val" / name
        assert (stored / name).read_bytes() == again.read_bytes()
    assert (clean / "dedup/overlap-val.txt").read_bytes() == (tmp_path / "out/dedup/overlap-val.txt").read_bytes()


def test_embeddings_as_clip_retrieval_leaves_them(world: Path, clean: Path, tmp_path: Path) -> None:
    """img_emb/ and metadata/ with its names; those of a cleaned dataset are found in the same way."""
    vectors = np.load(clean / "dedup/references/val/img_emb_00000.npy")[:, 0]
    for name in ("img_emb", "metadata"):
        (tmp_path / "clip" / name).mkdir(parents=True)
    for number in range(2):
        np.save(tmp_path / f"clip/img_emb/img_emb_{number}.npy", vectors[2 * number : 2 * number + 2])
        table = pa.table({"image_path": [f"x/{2 * number + i}.jpg" for i in range(2)], "caption": ["a", "b"]})
        pq.write_table(table, tmp_path / f"clip/metadata/metadata_{number}.parquet")
    detector = {"detector": PHash.fingerprint}
    (tmp_path / "clip/img_emb/detector.json").write_text(json.dumps(detector))
    assert 0 == run(world, tmp_path / "out", tmp_path / "clip")
    assert {"p0.jpg": "0.jpg", "p1.jpg": "1.jpg"} == denied(tmp_path / "out")
    assert detector == json.loads((clean / "img_emb/detector.json").read_text())
    assert USAGE == run(world, tmp_path / "own", clean / "img_emb"), "the dataset itself"
    assert NOTHING_KEPT == run(world, tmp_path / "own", clean / "img_emb", "--allow_self_reference")
    assert 6 == len(denied(tmp_path / "own"))


def test_sets_of_an_earlier_run_are_forgotten(world: Path, clean: Path, tmp_path: Path) -> None:
    """Another name and fewer references into the same folder: as in a new one."""
    out = tmp_path / "out"
    shutil.copytree(clean, out)
    assert 0 == run(world, out, world / "val", "--reference", f"other={world / 'val/000000000001.jpg'}")
    assert 0 == run(world, tmp_path / "new", world / "val", "--reference", f"other={world / 'val/000000000001.jpg'}")
    listed = [{str(p.relative_to(each)) for p in each.rglob("*") if p.is_file()} for each in (out, tmp_path / "new")]
    assert listed[0] == listed[1]
    assert not [name for name in listed[0] if "val" in name]


def broken(world: Path, folder: Path, what: str) -> object:
    """A reference set that cannot be used."""
    vectors = np.load(world / "earlier/img_emb_00000.npy")
    shutil.copytree(world / "earlier", folder)
    if what == "another detector":
        (folder / "detector.json").write_text('{"detector": "builtin-v1-0123"}')
    elif what == "no detector":
        (folder / "detector.json").unlink()
    elif what == "another length":
        np.save(folder / "img_emb_00000.npy", vectors[..., :32])
    elif what == "too few":
        np.save(folder / "img_emb_00000.npy", vectors[:3])
    elif what == "not of unit length":
        np.save(folder / "img_emb_00000.npy", 2 * vectors)
    elif what == "cut":
        (folder / "img_emb_00000.npy").write_bytes((world / "earlier/img_emb_00000.npy").read_bytes()[:-7])
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another detector", "its vectors were made by the detector builtin-v1-0123, now it is phash-64-v1; give the"),
        ("no detector", "does not say which detector made its vectors; if it was phash-64-v1, put detector.json"),
        ("another length", "those of the detector phash-64-v1 have 64 numbers each; embed the pictures again"),
        ("too few", "3 vectors, 4 rows say of what"),
        ("not of unit length", "has a vector of length 2.000; expected unit length"),
        ("cut", "img_emb_00000.npy: not a whole file of vectors"),
    ],
)
def test_embeddings_that_cannot_be_used(
    world: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture, what: str, message: str
) -> None:
    """One sentence, no dataset."""
    if not (world / "earlier").exists():
        shutil.copytree(clean / "dedup/references/val", world / "earlier")
    assert 0 != run(world, tmp_path / "out", broken(world, tmp_path / "given", what))
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
    assert errors[-1].startswith("pipelines.dedup: ")
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize("stored", [True, False])
def test_a_name_that_is_there_twice_is_found_in_no_time(stored: bool, tmp_path: Path) -> None:
    """Among very many, at their end: the first of those that come again is named."""
    count = 100_000
    ids = [f"{n}.jpg" for n in range(count)]
    ids += [ids[-2], ids[-1]]
    begun = time.process_time()
    if stored:
        np.save(tmp_path / "img_emb_00000.npy", np.eye(1, 64, dtype=np.float16).repeat(count + 2, 0)[:, None])
        (tmp_path / "detector.json").write_text(json.dumps({"detector": PHash.fingerprint}))
        pq.write_table(pa.table({"id": ids}), tmp_path / "references.parquet")
        given = find_stored_vectors(str(tmp_path))
        assert given is not None
        with pytest.raises(ValueError, match=f"the reference '{ids[-2]}' is there twice"):
            given.load(PHash())
    else:
        (tmp_path / "list.txt").write_text("".join(f"x/{name}\n" for name in ids))
        with pytest.raises(ValueError, match=f"the reference 'x/{ids[-2]}' is there twice"):
            find_references(ReferenceArgument.parse(f"val={tmp_path}/list.txt"))
    assert time.process_time() - begun < 20


def test_only_numbered_vectors_count(tmp_path: Path) -> None:
    """A folder of pictures is none of embeddings; vectors without metadata are told."""
    assert find_stored_vectors(str(tmp_path)) is None
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb/img_emb_0.npy", np.eye(4, dtype=np.float16))
    with pytest.raises(ValueError, match=r"has no metadata/metadata_0\.parquet"):
        find_stored_vectors(str(tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--reference", "a={world}/val", "b={world}/val", "a={world}/tars"], "a, b, a: the same name twice"),
        (["--reference", "within={world}/val"], "the name `within` is that of copies in the training data itself"),
        (["--reference", "x y={world}/val"], "expected NAME=PATH, where the name is of letters, digits"),
        (["--reference", "a={world}/captions_val2017.json"], "is no folder; expected a folder of pictures"),
        (["--reference", "a={world}/captions_val2017.json,{world}/nowhere"], "nowhere is no folder"),
        (["--reference", "a={world}/val/captions.jsonl,{world}/val"], "No such file or directory"),
        (["--reference", "a={world}/*.tar"], "no file has such a name"),
        (["--threshold", "much"], "--threshold much: expected a number or NAME=NUMBER"),
        (["--threshold", "val=much"], "--threshold val=much: expected a number or NAME=NUMBER"),
        (["--threshold", "nan"], "--threshold nan: expected a cosine between -1 and 1"),
        (["--decisions", "{world}/none.json"], "No such file or directory"),
        (["--input_folder", "{world}/nowhere"], "nowhere"),
        (["--output_folder", "{world}/val"], "is the input, which --reference names"),
        (["--n_clusters", "3"], "n_clusters"),
    ],
)
def test_mistakes_are_one_sentence(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    """Where, what was found, what was expected; no stack trace, no dataset."""
    assert 0 != run(world, tmp_path / "out", world / "val", *(each.format(world=world) for each in more))
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1], errors
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--floor", "3"], "--floor 3.0: expected -1 to 1"),
        (["--within_threshold", "0.5"], "--within_threshold 0.5: is for --within, which is not given"),
        (["--within_linkage", "single"], "--within_linkage single: is for --within, which is not given"),
        (["--within_cells", "4"], "--within_cells 4: is for --within, which is not given"),
        (["--within", "--within_cells", "-1"], "--within_cells -1: expected 0 or more"),
    ],
)
def test_bad_values_fail_before_anything_starts(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    """As all flags that cannot be."""
    assert 2 == run(world, tmp_path / "out", world / "val", *more)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
