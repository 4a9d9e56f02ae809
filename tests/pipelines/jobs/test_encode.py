"""Vocabulary and examples as a user makes them: the same bytes however they are made, and everyone can read them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import datasets
import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from PIL import Image

from dalle import dvae, scenes
from dalle.pictures.augment import cut, draw_crops
from dalle.pictures.images import decode
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards
from dalle.text import tokenizer
from pipelines import audit, encode, ingest, vocab
from pipelines.auditing.review_examples import review
from pipelines.auditing.review_options import ReviewOptions
from pipelines.stages.encode_images import encode_views
from schemas.folder import Folder
from schemas.manifest import read_manifest
from schemas.pair_shards import read_pictures
from tests.conftest import Job, SmallDisk, hashes, run_job

pytestmark = pytest.mark.slow

PICTURES = 26


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn pairs in shards of four, two of them refused, and a dVAE of random weights."""
    place = tmp_path_factory.mktemp("encode")
    (place / "pictures").mkdir()
    rows = []
    for number in range(PICTURES):
        scene = scenes.compose(number, 320, 280)
        Image.fromarray(scenes.draw(scene)).save(place / f"pictures/{number:02d}.png")
        text = "short" if number in (4, 18) else scenes.describe(scene, 1)[0]
        rows.append(
            {
                "file": f"{number:02d}.png",
                "captions": [text, f"picture number {number} of a drawn set"][: 1 + number % 2],
            }
        )
    (place / "pictures/captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--dataset", "folder", "--url_list", place / "pictures", "--output_folder", place / "pairs"]
    more = ["--number_sample_per_shard", 4, "--resize_mode", "keep_ratio", "--processes_count", 1]
    assert 0 == ingest.main([str(flag) for flag in (*given, *more)])
    torch.manual_seed(0)
    size = dvae.DVAEConfig(vocab_size=64, encoder_n_hid=4, decoder_n_hid=4, n_init=4, n_blk_per_group=1)
    dvae.save(dvae.DVAE(size), place / "dvae.safetensors")
    return place


def flags(place: Path, out: Path, *more: object) -> list[str]:
    given = ["--input_folder", place / "pairs", "--output_folder", out, "--dvae", place / "dvae.safetensors"]
    given += ["--crops_per_image", 2, "--output_format", "webdataset", "--with_encoding", "--precision", "fp32"]
    return [str(flag) for flag in (*given, *more)]


@pytest.fixture(scope="module")
def examples(place: Path) -> Path:
    """Encoded in one process."""
    assert 0 == encode.main(flags(place, place / "examples", "--processes_count", 1))
    return place / "examples"


def kept(place: Path) -> int:
    return int(read_manifest(Folder(place / "pairs"))["counts"]["statuses"]["success"])


def test_two_workers_give_the_same_bytes(place: Path, examples: Path, tmp_path: Path) -> None:
    """Worker processes of Beam's local runner."""
    done = run_job("pipelines.encode", *flags(place, tmp_path / "out", "--processes_count", 2))
    assert 0 == done.returncode, done.stderr
    assert hashes(examples) == hashes(tmp_path / "out")
    assert "was never deduplicated; a training will refuse the examples" in done.stderr


def test_smaller_crops_have_fewer_codes(place: Path, examples: Path, tmp_path: Path) -> None:
    """--resolution 64: 8 x 8 codes, of the same crops at that size; nothing is said of it where it is the paper's."""
    out = tmp_path / "out"
    assert 0 == encode.main(flags(place, out, "--resolution", 64, "--processes_count", 1))
    network, pictures = dvae.load(place / "dvae.safetensors"), dict[str, np.ndarray]()
    for shard in ("00000", "00001"):
        pictures |= {key: decode(data) for key, _, data in read_pictures(Folder(place / "pairs"), shard)}
    rows = [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    for row in (row for row in rows if row["key"] in pictures):
        pixels = pictures[row["key"]]
        height, width = pixels.shape[:2]
        crops = draw_crops(height, width, 2, np.random.default_rng((0, int(row["key"]))), 64)
        expected = list(encode_views([cut(pixels, crop, 64) for crop in crops], network, 4))
        assert (2, 64) == np.shape(row["image_codes"])
        assert np.mean(np.array(row["image_codes"]) != expected) < 0.05  # threads and batches may change last bits
    given = [out, "--input_folder", place / "pairs", "--dvae", place / "dvae.safetensors"]
    assert 0 == audit.main([str(word) for word in given])
    assert "resolution" not in read_manifest(Folder(examples))["options"]
    assert 2 == encode.main(flags(place, tmp_path / "x", "--resolution", 100))


def test_killed_then_resumed(place: Path, examples: Path, tmp_path: Path) -> None:
    """kill -9 after some shards, twice: no manifest until the end, which is that of an uninterrupted run."""
    out, kills = tmp_path / "out", 0
    for shards in (1, 3):
        job = Job("pipelines.encode", *flags(place, out, "--processes_count", 2))
        while job.process.poll() is None and len(list(out.glob("*_stats.json"))) < shards:
            time.sleep(0.005)
        ended = job.process.poll() is not None  # on a busy machine it may be sooner than we look
        job.kill_all() if not ended else job.ended()
        kills += not ended
        assert ended or not (out / "manifest.json").exists()
    assert kills
    done_before = {path.name: path.stat().st_mtime_ns for path in out.glob("*_stats.json")}
    assert 0 == encode.main(flags(place, out, "--processes_count", 1))
    assert hashes(examples) == hashes(out)
    assert done_before.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*_stats.json")}.items()


def test_full_disk(place: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whenever room runs out: one sentence, nothing half-named; with more room the same command goes on."""
    with SmallDisk(tmp_path / "small", 0.1) as disk:
        failed, made = disk.runs_out_under(
            lambda out: encode.main(flags(place, out, "--processes_count", 1)), lambda: capsys.readouterr().err
        )
    assert hashes(examples) == made
    assert failed >= 2


def test_a_row_for_every_kept_pair(place: Path, examples: Path) -> None:
    """Keys and captions are the pairs', tokens the vocabulary's, codes those of Listing 2's crops."""
    ledger = [r for p in sorted((place / "pairs").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]
    pairs = [row for row in ledger if row["status"] == "success"]
    rows = [row for path in sorted(examples.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [(r["key"], r["uid"], r["captions"]) for r in pairs] == [(r["key"], r["uid"], r["captions"]) for r in rows]
    words, network = tokenizer.load(), dvae.load(place / "dvae.safetensors")
    pictures = {
        key: decode(data) for s in ("00000", "00002") for key, _, data in read_pictures(Folder(place / "pairs"), s)
    }
    for row in rows:
        assert row["text_tokens"] == [words.encode(caption) for caption in row["captions"]]
        assert (row["captions"][0], row["image_codes"][0]) == (row["caption"], row["encoding"])
        if row["key"] in pictures:
            pixels = pictures[row["key"]]
            height, width = pixels.shape[:2]
            crops = draw_crops(height, width, 2, np.random.default_rng((0, int(row["key"]))))
            views = [cut(pixels, crop) for crop in crops]
            again = [codes.tolist() for codes in encode_views(views, network, 4)]
            differ = np.mean(np.array(again) != np.array(row["image_codes"]))
            assert differ < 0.01  # threads and batches may change last bits
            boxes = [crop.box(*pixels.shape[:2]) for crop in crops]
            np.testing.assert_allclose(boxes, row["crop_boxes"], rtol=1e-5)
    said = read_manifest(Folder(examples))
    assert [kept(place), 2] == [said["counts"]["statuses"]["success"], said["counts"]["statuses"]["refused"]]
    assert (words.fingerprint, network.fingerprint()) == (said["options"]["vocabulary"], said["options"]["dvae"])
    assert ["ingest"] == [each["job"] for each in said["lineage"]]


def test_everyone_reads_them(place: Path, examples: Path, tmp_path: Path) -> None:
    """webdataset, Hugging Face datasets, DuckDB, Polars, and our own reader."""
    count = kept(place)
    tars = [str(path) for path in sorted(examples.glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    rows = {row["key"]: row for p in examples.glob("*.parquet") for row in pq.read_table(p).to_pylist()}
    assert count == len(samples) == len(rows)
    for sample in samples:
        row = rows[sample["__key__"]]
        assert row["image_codes"] == sample["image_codes.npy"].tolist()
        assert (row["text_tokens"], row["captions"][0]) == (sample["json"]["text_tokens"], sample["txt"])
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset("parquet", data_files=str(examples / "*.parquet"), split="train", cache_dir=cache)
    assert rows[found[5]["key"]]["image_codes"] == found[5]["image_codes"]
    found = datasets.load_dataset("webdataset", data_files=str(examples / "*.tar"), split="train", cache_dir=cache)
    assert count == len(found)
    query = f"select count(*), sum(len(image_codes)), min(len(image_codes[1])) from '{examples}/*.parquet'"
    assert [(count, 2 * count, 1024)] == duckdb.sql(query).fetchall()
    frame = polars.read_parquet(examples / "*.parquet")
    assert (count, 1024) == (frame.height, len(frame["image_codes"][0][0]))
    batch = next(iter(Batches(ExampleShards(str(examples), allow_undeduplicated=True), batch_size=count)))
    assert ((count, 256), (count, 1024)) == (tuple(batch["text_tokens"].shape), tuple(batch["image_codes"].shape))


def test_audit_encodes_a_sample_again(
    place: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Nothing found in what is whole, and a contact sheet; what was changed behind its back is found."""
    sheet = tmp_path / "sheet.png"
    given = ["--input_folder", place / "pairs", "--dvae", place / "dvae.safetensors", "--contact_sheet", sheet]
    arguments = [str(flag) for flag in (*given, "--processes_count", 1, "--sample", 6)]
    assert 0 == audit.main([str(examples), *arguments])
    assert (4 * 2 * 192, 2 * 192) == Image.open(sheet).size
    changed = tmp_path / "changed"
    shutil.copytree(examples, changed)
    table = pq.read_table(changed / "00001.parquet")
    rows = table.to_pylist()
    rows[0]["image_codes"][1][7] ^= 1
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), changed / "00001.parquet")
    options = ReviewOptions(
        input_folder=str(place / "pairs"), dvae=str(place / "dvae.safetensors"), sample=99, contact_sheet=str(sheet)
    )
    faults = list(review(Folder(changed), read_manifest(Folder(changed)), options))
    assert 1 == len(faults)
    assert "00001.parquet, row 0: 1 of its 2,048 image_codes differ from those of its picture" in faults[0]
    assert 1 == audit.main([str(changed), *arguments])
    told = capsys.readouterr().out
    assert "00001.parquet: its sha256 is not the manifest's" in told or "00001.parquet: has" in told
    assert "00001.tar, sample 000011: is not what the Parquet file says" in told


def test_a_changed_picture_fails_its_shard(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One sentence, the others are done, no manifest."""
    shutil.copytree(place / "pairs", tmp_path / "pairs")
    tar = (tmp_path / "pairs/00002.tar").read_bytes()
    at = tar.index(b"\xff\xd8") + 2000
    (tmp_path / "pairs/00002.tar").write_bytes(tar[:at] + b"\0\0\0\0" + tar[at + 4 :])
    out = tmp_path / "out"
    assert 1 == encode.main(flags(tmp_path, out, "--dvae", place / "dvae.safetensors", "--processes_count", 1))
    told = capsys.readouterr().err
    assert "unit 00002 of 7 failed" in told
    assert "is not the picture that the ledger has for" in told
    assert not (out / "manifest.json").exists()
    assert 6 == len(list(out.glob("*_stats.json")))


def test_an_encoder_of_ones_own(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two methods are enough; another number of codes; finished is finished; other options make it anew."""
    out = tmp_path / "out"
    given = ["--input_folder", place / "pairs", "--output_folder", out, "--dvae", "tests.own_encoder:Greys"]
    arguments = [str(flag) for flag in (*given, "--processes_count", 1)]
    assert 0 == encode.main(arguments)
    batch = next(iter(Batches(ExampleShards(str(out), dvae="greys-16", allow_undeduplicated=True), batch_size=8)))
    assert (8, 256) == tuple(batch["image_codes"].shape)
    before = hashes(out, markers=True)
    assert 0 == encode.main(arguments)
    assert before == hashes(out, markers=True)
    assert 0 == encode.main([*arguments, "--crops_per_image", "3"])
    told = capsys.readouterr().err
    assert "is finished already, nothing to do" in told
    assert "was made with another crops_per_image (1)" in told
    assert 3 == len(pq.read_table(out / "00000.parquet")["image_codes"][0])
    assert 0 == audit.main(
        [
            str(out),
            "--processes_count",
            "1",
            "--input_folder",
            str(place / "pairs"),
            "--dvae",
            "tests.own_encoder:Greys",
        ]
    )
    for bad, told in (("half_done", "has no method encode"), ("nothing", "has no attribute 'nothing'")):
        assert 2 == encode.main([*arguments, "--dvae", f"tests.own_encoder:{bad}"])
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--dvae", "not-there.safetensors"), "--dvae not-there.safetensors: is not there"),
        (("--input_folder", "nowhere"), "nowhere: is not there, so it is not a finished dataset"),
        (("--vocabulary", "nowhere"), "nowhere: is not there, expected a vocabulary"),
    ],
)
def test_bad_options_fail_at_once(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: tuple[str, str], told: str
) -> None:
    """In one sentence, before anything is made."""
    assert 2 == encode.main(flags(place, tmp_path / "out", *more))
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_vocabulary_of_a_dataset(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Learnt from the captions of the kept; a shortfall is said; a sample is seeded; examples name it."""
    out = tmp_path / "vocab"
    arguments = ["--input_folder", str(place / "pairs"), "--output_folder", str(out)]
    assert 0 == vocab.main(arguments)
    told = " ".join(capsys.readouterr().out.split())
    captions = [
        c
        for p in (place / "pairs").glob("*.parquet")
        for r in pq.read_table(p).to_pylist()
        if r["status"] == "success"
        for c in r["captions"]
    ]
    learnt = tokenizer.load(out)
    assert learnt.content == tokenizer.train(captions).content
    assert f"captions: {len(captions)} of {len(captions)}" in told
    assert f"entries: {learnt.vocab_size}, {16384 - learnt.vocab_size:,} fewer than asked for" in told
    said = read_manifest(Folder(out))
    assert (learnt.fingerprint, "vocabulary") == (said["options"]["vocabulary"], said["table"])
    before = hashes(out)
    assert 0 == vocab.main(arguments)
    assert "nothing to do" in capsys.readouterr().err
    ways = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        some = [
            "--input_folder",
            str(place / "pairs"),
            "--output_folder",
            str(tmp_path / folder),
            "--max_captions",
            "9",
        ]
        assert 0 == vocab.main([*some, "--seed", str(seed)])
        ways.append((tmp_path / folder / "vocabulary.json").read_bytes())
    assert ways[0] == ways[1] != ways[2]
    assert f"captions: 9 of {len(captions)}" in capsys.readouterr().out
    assert before == hashes(out)
    done = ["--input_folder", place / "pairs", "--output_folder", tmp_path / "out", "--dvae", "tests.own_encoder:Greys"]
    assert 0 == encode.main([*map(str, done), "--processes_count", "1", "--vocabulary", str(out)])
    with pytest.raises(ValueError, match="was made with the vocabulary"):
        ExampleShards(str(tmp_path / "out"), vocabulary=tokenizer.load().fingerprint, allow_undeduplicated=True)


def test_vocabulary_of_lists(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Without pictures; what is no preset is said."""
    (tmp_path / "list.tsv").write_text(
        "".join(f"a red boat number {i}\thttp://example.test/{i}.jpg\n" for i in range(30))
    )
    assert 0 == vocab.main(["--lists", f"cc3m:{tmp_path}/list.tsv", "--output_folder", str(tmp_path / "vocab")])
    assert [1, 1] == [len(tokenizer.load(tmp_path / "vocab").encode(word)) for word in ("a", " boat")]
    assert 2 == vocab.main(["--lists", f"{tmp_path}/list.tsv", "--output_folder", str(tmp_path / "vocab")])
    assert "expected PRESET:PATH" in capsys.readouterr().err
    assert 2 == vocab.main(["--output_folder", str(tmp_path / "vocab")])


def test_a_folder_as_released(tmp_path: Path) -> None:
    """encoder.pkl and decoder.pkl saved by OpenAI's package; bfloat16 on what has it."""
    dall_e = pytest.importorskip("dall_e", reason="the PyPI package DALL-E 0.1 is not installed", exc_type=ImportError)
    from dalle.dvae.image_encoders import load_encoder

    torch.manual_seed(0)
    size = {"n_hid": 8, "n_blk_per_group": 1, "vocab_size": 32}
    torch.save(dall_e.Encoder(**size), tmp_path / "encoder.pkl")
    torch.save(dall_e.Decoder(n_init=8, **size), tmp_path / "decoder.pkl")
    views = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for precision in ("fp32", "bf16"):
        encoder = load_encoder(str(tmp_path), precision)  # type: ignore[arg-type]
        codes = encoder.encode(views)
        assert (2, 8, 8) == tuple(codes.shape)
        assert (2, 3, 64, 64) == tuple(encoder.decode(codes.flatten(1)).shape)  # type: ignore[attr-defined]
