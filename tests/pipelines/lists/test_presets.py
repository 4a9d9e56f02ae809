"""Data sets known by name: files as their publishers lay them out are read without another flag."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.ingest import main
from pipelines.lists import ListOptions, open_source
from pipelines.lists.presets import PRESETS, Dataset
from pipelines.lists.web_sets import YFCC_COLUMNS, yfcc_text
from pipelines.stages.open_local import open_local


def read(path: Path | str, dataset: str | None, **options: Any) -> list[dict[str, Any]]:
    source = open_source(ListOptions(url_list=str(path), dataset=dataset, **options))  # type: ignore[arg-type]
    return [row for batch in source.rows() for row in batch.to_pylist()]


def said(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    assert all(row["problem"] is None for row in rows), rows
    return [(row["url"], row["captions"]) for row in rows]


def picture(path: Path, shade: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 40, 3), shade, np.uint8)).save(path)
    return path


def test_every_name_has_a_preset() -> None:
    """The flag's choices and the table of presets are the same."""
    assert set(get_args(Dataset)) == set(PRESETS)


@pytest.mark.parametrize(("option", "value"), [("dataset", "cc4m"), ("input_format", "csv.zip")])
def test_an_unknown_name_is_one_sentence(option: str, value: str) -> None:
    """From Python, where no flag's choices stand before it."""
    with pytest.raises(ValueError, match=rf"^--{option} {value}: expected one of .*(laion|jsonl)"):
        ListOptions(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_additional_columns_where_there_are_any(name: str) -> None:
    """What a preset has no columns for is refused, and taken by the others."""
    if PRESETS[name].has_columns:
        assert ("n",) == ListOptions(dataset=name, save_additional_columns=("n",)).columns.save_additional_columns
    else:
        with pytest.raises(ValueError, match="has no columns beyond pictures and captions"):
            ListOptions(dataset=name, save_additional_columns=("n",))


def test_cc3m_as_published(data: Path) -> None:
    """15,833 rows, caption first, no header; not one is lost or merged."""
    path = data / "text/cc3m_validation.tsv"
    rows = said(read(path, "cc3m"))
    lines = [line.split("\t") for line in path.read_text("utf-8").rstrip("\n").split("\n")]
    assert [(url, [caption]) for caption, url in lines] == rows
    assert 15_833 == len(rows)


def test_cc12m_is_the_other_way_round(tmp_path: Path) -> None:
    """url first; an unbalanced quote swallows nothing."""
    (tmp_path / "cc12m.tsv").write_text('http://a/1\the said "hello\nhttp://a/2\t<PERSON> waves" back\n')
    assert [("http://a/1", ['he said "hello']), ("http://a/2", ['<PERSON> waves" back'])] == said(
        read(tmp_path / "cc12m.tsv", "cc12m")
    )


@pytest.mark.parametrize("name", ["laion400m_1000", "laion400m_5000"])
def test_laion_as_published(data: Path, name: str) -> None:
    """Real rows, their columns known by the name of the set."""
    table = pq.read_table(data / f"text/{name}.parquet")
    expected = zip(table["URL"].to_pylist(), table["TEXT"].to_pylist(), strict=True)
    assert [(u, [] if t is None else [t]) for u, t in expected] == said(read(data / f"text/{name}.parquet", "laion"))


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("laion", ("URL", "TEXT")),
        ("laion", ("url", "caption")),
        ("coyo", ("url", "text")),
        ("datacomp", ("url", "text")),
    ],
)
def test_parquet_sets(tmp_path: Path, dataset: str, names: tuple[str, str]) -> None:
    """By the columns of each, with columns of other parts in a wider type."""
    for part, kind in ((0, pa.int32()), (1, pa.float64())):
        table = pa.table(
            {names[0]: [f"http://a/{part}"], names[1]: ["a red boat"], "WIDTH": pa.array([10 + part], kind)}
        )
        pq.write_table(table, tmp_path / f"part-{part}.parquet")
    rows = read(tmp_path, dataset, save_additional_columns=("WIDTH",))
    assert [("http://a/0", ["a red boat"], 10.0), ("http://a/1", ["a red boat"], 11.0)] == [
        (r["url"], r["captions"], r["WIDTH"]) for r in rows
    ]
    assert all(isinstance(r["WIDTH"], float) for r in rows)


def yfcc_line(*, old: bool, **values: str) -> str:
    names = [n for n in YFCC_COLUMNS if not (old and n in ("line_number", "hash"))]
    return "\t".join(values.get(name, "") for name in names) + "\n"


@pytest.mark.parametrize("old", [False, True])
def test_yfcc100m(tmp_path: Path, old: bool) -> None:
    """25 and 23 columns, URL-encoded titles with plus and HTML, videos told apart, bz2 as published."""
    photo = yfcc_line(
        old=old, photo_id="7", title="Sunset+at+the+%22lake%22", description="seen+from+%3Ca+href%3D%22x%22%3Eour+house%3C%2Fa%3E%26amp%3B",
        download_url="http://farm/7.jpg", marker="0",
    )  # fmt: skip
    video = yfcc_line(old=old, photo_id="8", title="clip", download_url="http://farm/8.mp4", marker="1")
    path = tmp_path / ("yfcc100m_dataset-0.bz2" if old else "yfcc100m_dataset")
    content = (photo + video + "too\tfew\n").encode()
    path.write_bytes(bz2.compress(content) if old else content)
    rows = read(path, "yfcc100m", save_additional_columns=("photo_id",))
    assert ("http://farm/7.jpg", ['Sunset at the "lake"', "seen from  our house &"], "7") == (
        rows[0]["url"], rows[0]["captions"], rows[0]["photo_id"],
    )  # fmt: skip
    assert ["a video, not a picture", "row 3: 2 fields, expected 25 or 23"] == [r["problem"] for r in rows[1:]]


@given(st.text())
def test_yfcc_text_decodes_any_text(text: str) -> None:
    """What was encoded comes back, but for tags and entities."""
    from urllib.parse import quote_plus

    plain = "".join(c for c in text if c not in "<>&" and not "\ud800" <= c <= "\udfff")
    assert plain.strip() == yfcc_text(quote_plus(plain))


def test_wit(tmp_path: Path) -> None:
    """Gzipped TSV with header; three texts of a picture, each once."""
    names = [
        "language",
        "image_url",
        "caption_reference_description",
        "caption_attribution_description",
        "caption_alt_text_description",
    ]
    lines = [
        names,
        ["en", "http://w/1.jpg", "A boat", "A boat", "alt text"],
        ["de", "http://w/2.jpg", "", "", ""],
        ["x"],
    ]
    with gzip.open(tmp_path / "wit_v1.train.all-00000-of-00010.tsv.gz", "wt") as file:
        file.write("\n".join("\t".join(line) for line in lines))
    rows = read(tmp_path, "wit", save_additional_columns=("language",))
    assert [("http://w/1.jpg", ["A boat", "alt text"], "en"), ("http://w/2.jpg", [], "de")] == [
        (r["url"], r["captions"], r["language"]) for r in rows[:2]
    ]
    assert "row 4: 1 fields, expected 5" == rows[2]["problem"]


def test_sbu_in_both_layouts(tmp_path: Path) -> None:
    """Two texts side by side, or one JSON of two lists; lists of different lengths are an error."""
    urls, captions = ["http://f/1.jpg", "http://f/2.jpg"], ['a "red boat', "two boats"]
    (tmp_path / "SBU_captioned_photo_dataset_urls.txt").write_text("\n".join(urls) + "\n")
    (tmp_path / "SBU_captioned_photo_dataset_captions.txt").write_text("\n".join(captions) + "\n")
    (tmp_path / "sbu-captions-all.json").write_text(
        json.dumps({"user_ids": [1, 2], "captions": captions, "image_urls": urls})
    )
    expected = [(u, [c]) for u, c in zip(urls, captions, strict=True)]
    assert expected == said(read(tmp_path / "SBU_captioned_photo_dataset_urls.txt", "sbu"))
    assert expected == said(read(tmp_path / "sbu-captions-all.json", "sbu"))
    assert expected == said(read(tmp_path, "sbu"))
    with (tmp_path / "SBU_captioned_photo_dataset_captions.txt").open("a") as file:
        file.write("one more\n")
    with pytest.raises(ValueError, match="has not as many lines as"):
        read(tmp_path / "SBU_captioned_photo_dataset_urls.txt", "sbu")


def test_redcaps(tmp_path: Path) -> None:
    """One JSON a subreddit and year; pictures as links, or as published in folders."""
    annotations = [
        {"image_id": "abc", "url": "http://i/abc.jpg", "caption": "my cat", "raw_caption": "My cat!", "score": 7},
        {"image_id": "def", "url": "http://i/def.jpg", "caption": "a dog", "raw_caption": "A dog", "score": 3},
    ]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/cats_2018.json").write_text(json.dumps({"info": {}, "annotations": annotations}))
    rows = read(tmp_path / "annotations", "redcaps", save_additional_columns=("score",))
    assert [("http://i/abc.jpg", ["my cat"]), ("http://i/def.jpg", ["a dog"])] == said(rows)
    picture(tmp_path / "images/cats/abc.jpg")
    local = read(tmp_path / "annotations", "redcaps", image_folder=str(tmp_path / "images"))
    assert ["cats/abc.jpg", ""] == [row["place"] for row in local]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "coco_url": f"http://images.example/val2017/{i:012d}.jpg", "license": i}
        for i in (9, 4)
    ]
    annotations = [{"id": k, "image_id": i, "caption": f"caption {k} of {i}"} for k, i in enumerate((4, 9, 9, 4, 77))]
    path = tmp_path / "captions_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_coco_groups_by_image(coco: Path) -> None:
    """All captions of an image are one row, in the order of the images; captions of no image are a problem."""
    rows = read(coco, "coco", save_additional_columns=("license",))
    assert [
        ("http://images.example/val2017/000000000009.jpg", ["caption 1 of 9", "caption 2 of 9"]),
        ("http://images.example/val2017/000000000004.jpg", ["caption 0 of 4", "caption 3 of 4"]),
    ] == said(rows[:2])
    assert "captions of image 77, which is not among the images" == rows[2]["problem"]


@pytest.mark.parametrize("layout", ["val2017/000000000009.jpg", "000000000009.jpg", "a/b/000000000009.jpg"])
def test_coco_with_local_pictures(coco: Path, tmp_path: Path, layout: str) -> None:
    """The official layout and a flat folder; a picture that is not there fails as not-found."""
    picture(tmp_path / "images" / layout)
    rows = read(coco, "coco", image_folder=str(tmp_path / "images"))[:2]
    assert [(layout, layout), ("000000000004.jpg", "")] == [(row["url"], row["place"]) for row in rows]
    opened = list(open_local(enumerate(row["place"] for row in rows), str(tmp_path / "images"), 10**6))
    assert [None, "not-found"] == [problem and problem.reason for _, _, problem in opened]


def test_coco_as_published(data: Path) -> None:
    """25,014 captions of 5,000 pictures; 185 of them are here."""
    path = data / "text/captions_val2017.json"
    rows = read(path, "coco", image_folder=str(data / "coco_val2017"))
    assert 5_000 == len(rows)
    assert 25_014 == sum(len(row["captions"]) for row in rows)
    assert 185 == sum(bool(row["place"]) for row in rows)


def test_cub_with_reeds_texts(tmp_path: Path) -> None:
    """Ten captions a picture, pictures in folders of their class or all in one."""
    texts = tmp_path / "text_c10/001.Black_footed_Albatross"
    texts.mkdir(parents=True)
    (texts / "Black_Footed_Albatross_0046_18.txt").write_text(
        "\n".join(f"this bird is black {i}" for i in range(10)) + "\n"
    )
    official = picture(tmp_path / "CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg")
    flat = picture(tmp_path / "flat/Black_Footed_Albatross_0046_18.jpg")
    for folder, expected in (
        (official.parent.parent, "001.Black_footed_Albatross/" + official.name),
        (flat.parent, flat.name),
    ):
        (row,) = read(tmp_path / "text_c10", "cub", image_folder=str(folder))
        assert (expected, expected, 10) == (row["url"], row["place"], len(row["captions"]))


def test_cub_with_class_names(tmp_path: Path) -> None:
    """The data set's own folder needs no other flag."""
    root = tmp_path / "CUB_200_2011"
    picture(root / "images/001.Black_footed_Albatross/a_1.jpg")
    (root / "images.txt").write_text("1 001.Black_footed_Albatross/a_1.jpg\n2 002.Laysan_Albatross/b_2.jpg\n")
    rows = read(root, "cub")
    assert [
        ("001.Black_footed_Albatross/a_1.jpg", ["Black footed Albatross"]),
        ("002.Laysan_Albatross/b_2.jpg", ["Laysan Albatross"]),
    ] == said(rows)
    assert ["001.Black_footed_Albatross/a_1.jpg", ""] == [row["place"] for row in rows]


@pytest.mark.parametrize(
    ("dataset", "name", "content"),
    [
        ("flickr8k", "captions.txt", "image,caption\n1.jpg,A child in a pink dress .\n1.jpg,A girl , running .\n2.jpg,\"A dog, \"\"wet\"\" .\"\n"),
        ("flickr8k", "captions.txt", "1.jpg,A child in a pink dress .\n1.jpg,A girl , running .\n2.jpg,\"A dog, \"\"wet\"\" .\"\n"),
        ("flickr8k", "Flickr8k.token.txt", '1.jpg#0\tA child in a pink dress .\n1.jpg#1\tA girl , running .\n2.jpg#0\tA dog, "wet" .\n'),
        ("flickr30k", "results_20130124.token", '1.jpg#0\tA child in a pink dress .\n1.jpg#1\tA girl , running .\n2.jpg#0\tA dog, "wet" .\n'),
        ("flickr30k", "results.csv", 'image_name| comment_number| comment\n1.jpg| 0| A child in a pink dress .\n1.jpg| 1| A girl , running .\n2.jpg| 0| A dog, "wet" .\n'),
        ("flickr30k", "dataset_flickr30k.json", json.dumps({"images": [
            {"filename": "1.jpg", "sentences": [{"raw": "A child in a pink dress ."}, {"raw": "A girl , running ."}]},
            {"filename": "2.jpg", "sentences": [{"raw": 'A dog, "wet" .'}]}]})),
    ],
)  # fmt: skip
def test_flickr(tmp_path: Path, dataset: str, name: str, content: str) -> None:
    """Every published layout gives the same rows, grouped by picture."""
    picture(tmp_path / "images/1.jpg")
    (tmp_path / name).write_text(content)
    rows = read(tmp_path / name, dataset, image_folder=str(tmp_path / "images"))
    captions = [list(map(str.strip, row["captions"])) for row in rows]
    assert [["A child in a pink dress .", "A girl , running ."], ['A dog, "wet" .']] == captions
    assert ["1.jpg", ""] == [row["place"] for row in rows]


def test_flickr8k_as_published_or_copied(data: Path) -> None:
    """40,455 captions of 8,091 pictures, of which 260 are here."""
    rows = read(data / "text/flickr8k_captions.csv", "flickr8k", image_folder=str(data / "flickr8k"))
    assert (8_091, 40_455, 260) == (
        len(rows),
        sum(len(r["captions"]) for r in rows),
        sum(bool(r["place"]) for r in rows),
    )


def shards(folder: Path, output_format: str) -> Path:
    """A dataset of ours, which has img2dataset's layout, of two pictures and a broken one."""
    source = folder / "source"
    for name, shade in (("a", 40), ("b", 200)):
        picture(source / f"{name}.png", shade)
        (source / f"{name}.txt").write_text(f"a grey picture named {name}")
    (source / "c.png").write_bytes(b"broken")
    (source / "c.txt").write_text("a picture that is broken")
    out = folder / "pairs"
    flags = ["--dataset", "folder", "--url_list", source, "--output_folder", out, "--output_format", output_format]
    assert 0 == main([*map(str, flags), "--encode_format", "png", "--encode_quality", "1", "--processes_count", "1"])
    return out


@pytest.mark.parametrize("layout", ["webdataset", "parquet", "files"])
def test_img2dataset_folders(tmp_path: Path, layout: str) -> None:
    """Its rows in order; the pictures come out of tar, column or folder; what failed there is not-found here."""
    out = shards(tmp_path, "parquet" if layout == "parquet" else "webdataset")
    if layout == "files":
        with tarfile.open(out / "00000.tar") as tar:
            tar.extractall(out / "00000", filter="data")
        (out / "00000.tar").unlink()
    source = open_source(ListOptions(url_list=str(out), dataset="img2dataset", save_additional_columns=("width",)))
    rows = [row for batch in source.rows() for row in batch.to_pylist()]
    assert [
        ("a.png", ["a grey picture named a"]),
        ("b.png", ["a grey picture named b"]),
        ("c.png", ["a picture that is broken"]),
    ] == said(rows)
    assert [256, 256, None] == [row["width"] for row in rows]
    opened = list(open_local(enumerate(row["place"] for row in rows), source.local_folder or "", 10**7))
    shades = [np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0] for _, data, problem in opened if not problem]
    assert [40, 200] == shades
    assert ("not-found", "failed_to_resize there: the bytes begin with b'broken'") == (
        opened[2][2].reason,
        opened[2][2].message,
    )


def test_webdataset_tars(tmp_path: Path) -> None:
    """Any tars: caption from .txt or .json; braces name them; a compressed tar is one sentence."""
    for number in range(2):
        with tarfile.open(tmp_path / f"set-{number:03d}.tar", "w") as tar:
            for name, content in (
                (f"./x/s{number}a.png", picture(tmp_path / "p.png", 10 + number).read_bytes()), (f"./x/s{number}a.txt", b"a grey picture"),
                (f"./x/s{number}b.jpg", picture(tmp_path / "p.jpg", 99).read_bytes()), (f"./x/s{number}b.json", b'{"caption": "another", "url": "http://u/b", "n": 4}'),
                (f"./x/s{number}c.cls", b"3"),
            ):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    source = open_source(
        ListOptions(url_list=str(tmp_path / "set-{000..001}.tar"), dataset="webdataset", save_additional_columns=("n",))
    )
    rows = [row for batch in source.rows() for row in batch.to_pylist()]
    assert [("set-000.tar/x/s0a", ["a grey picture"]), ("http://u/b", ["another"]), ("set-000.tar/x/s0c", [])] == said(
        rows
    )[:3]
    assert [None, "4", None] == [row["n"] for row in rows[:3]]
    opened = list(open_local(enumerate(row["place"] for row in rows), source.local_folder or "", 10**7))
    assert [10, None, 11] == [
        None if problem else int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0])
        for _, data, problem in (opened[0], opened[2], opened[3])
    ]
    packed = tmp_path / "z.tar.gz"
    packed.write_bytes(gzip.compress((tmp_path / "set-000.tar").read_bytes()))
    with pytest.raises(ValueError, match="unpack it first"):
        read(packed, "webdataset")


def test_folders_globs_braces_and_stores(tmp_path: Path) -> None:
    """A folder of lists, a glob, braces and an fsspec URL mean the same files in the same order."""
    import fsspec

    for number in range(3):
        content = f"url\tcaption\nhttp://a/{number}\ta red boat {number}\n"
        (tmp_path / f"part-{number}.tsv").write_text(content)
        with fsspec.open(f"memory://lists/part-{number}.tsv", "w") as file:
            file.write(content)
    (tmp_path / "readme.md").touch()
    expected = [(f"http://a/{n}", [f"a red boat {n}"]) for n in range(3)]
    for list_ in (
        tmp_path,
        tmp_path / "part-*.tsv",
        tmp_path / "part-{0..2}.tsv",
        "memory://lists",
        "memory://lists/part-?.tsv",
    ):
        assert expected == said(read(list_, None))
    assert expected[::-1] == said(read(tmp_path / "part-{2,1,0}.tsv", None))


@pytest.mark.parametrize(
    ("list_", "options", "error", "message"),
    [
        ("nowhere.tsv", {}, FileNotFoundError, "No such file"),
        ("part-{0..3}.tsv", {}, FileNotFoundError, "part-3.tsv"),
        ("x*.tsv", {}, ValueError, "no file has such a name"),
        ("empty", {}, ValueError, r"no file in this folder ends with \.txt"),
        ("part-0.tsv", {"image_folder": "x"}, ValueError, "--image_folder x: is for coco, cub"),
        ("part-0.tsv", {"dataset": "flickr8k"}, ValueError, "say with --image_folder where its pictures lie"),
        ("part-0.tsv", {"dataset": "coco"}, ValueError, "not COCO's captions JSON"),
        (
            "part-0.tsv",
            {"dataset": "coco", "image_folder": "nowhere"},
            ValueError,
            "--image_folder nowhere: is not a folder",
        ),
        ("part-0.tsv", {"dataset": "img2dataset"}, ValueError, "not a Parquet file"),
        ("part-0.tsv", {"dataset": "webdataset"}, ValueError, "not a whole tar file"),
        ("part-0.tsv", {"dataset": "laion"}, ValueError, "not a Parquet file"),
        ("part-0.tsv", {"dataset": "wit"}, ValueError, "has no column 'image_url'"),
    ],
)
def test_wrong_files_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, list_: str, options: dict, error: type, message: str
) -> None:
    """What was given, and what was expected."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for number in range(3):
        (tmp_path / f"part-{number}.tsv").write_text("url\tcaption\nu\tc\n")
    with pytest.raises(error, match=message):
        read(list_, **{"dataset": None, **options})


def test_grouped_captions_reach_the_ledger(coco: Path, tmp_path: Path, data: Path) -> None:
    """`captions` holds all that are kept, `text` the first; an absent picture is a failed row, never a lost one."""
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "coco_val2017/000000000632.jpg", images / "000000000009.jpg")
    out = tmp_path / "pairs"
    flags = [
        "--dataset",
        "coco",
        "--url_list",
        coco,
        "--image_folder",
        images,
        "--output_folder",
        out,
        "--processes_count",
        1,
    ]
    assert 0 == main([str(flag) for flag in flags])
    rows = pq.read_table(out / "00000.parquet").to_pylist()
    assert ["success", "failed_to_download", "failed_to_download"] == [row["status"] for row in rows]
    assert ("caption 1 of 9", ["caption 1 of 9", "caption 2 of 9"]) == (rows[0]["text"], rows[0]["captions"])
    assert ["not-found", "bad-row"] == [row["reason"] for row in rows[1:]]


def test_quotes_in_a_tsv_change_nothing(tmp_path: Path) -> None:
    """img2dataset makes 3 rows of these 5."""
    lines = [
        ("http://a/1", 'a "quoted word'),
        ("http://a/2", "plain"),
        ("http://a/3", 'ends with "'),
        ("http://a/4", '"'),
        ("http://a/5", "x"),
    ]
    with (tmp_path / "l.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n").writerows(
            [("url", "caption"), *lines]
        )
    assert [(url, [caption]) for url, caption in lines] == said(read(tmp_path / "l.tsv", None))
