"""From a list of links to batches that a transformer learns from: every job, one after the other, on a real server."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest

from dalle import dvae, scenes, train_dvae, train_prior
from dalle.reading.batches import Batches
from dalle.reading.example_shards import ExampleShards
from dalle.text import tokenizer
from pipelines import audit, dedup, encode, ingest, vocab
from schemas.folder import Folder
from schemas.manifest import read_manifest
from tests.server import Web

pytestmark = pytest.mark.slow

PICTURES, COPY = 18, 5
JOBS = {
    name: module.main
    for name, module in (
        ("ingest", ingest), ("dedup", dedup), ("vocab", vocab), ("train_dvae", train_dvae), ("encode", encode),
        ("audit", audit), ("train_prior", train_prior),
    )
}  # fmt: skip


def run(name: str, *flags: object) -> None:
    one_process = ["--processes_count", "1"] if name in ("ingest", "dedup", "encode", "audit") else []
    assert 0 == JOBS[name]([*map(str, flags), *one_process]), name


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; beside it drawn pictures, captions that are true of them, and a reference."""
    for folder in ("web", "references", "work"):
        (tmp_path / folder).mkdir()
    for number in range(PICTURES):
        scene = scenes.compose(number, 160, 160)
        cv2.imwrite(str(tmp_path / f"web/{number:02d}.jpg"), scenes.draw(scene)[..., ::-1])
        (tmp_path / f"web/{number:02d}.txt").write_text(scenes.describe(scene, 1)[0])
    copied = cv2.imread(str(tmp_path / f"web/{COPY:02d}.jpg"))
    cv2.imwrite(str(tmp_path / "references/held-out.png"), cv2.resize(copied, (120, 120), interpolation=cv2.INTER_AREA))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_from_a_list_to_a_loss_that_falls(place: Path, capsys: pytest.CaptureFixture) -> None:
    """Each job reads what the one before it left, up to batches of the right words and a transformer that learns."""
    with Web(place / "web") as web:
        with open("list.csv", "w", newline="") as file:
            rows = [
                (web.url(path.name), path.with_suffix(".txt").read_text()) for path in sorted(web.folder.glob("*.jpg"))
            ]
            csv.writer(file).writerows([("url", "caption"), *rows])
        run(
            "ingest", "--url_list", "list.csv", "--caption_col", "caption", "--output_folder", "pairs", "--image_size", 64,
            "--number_sample_per_shard", 7, "--allow_private_hosts", web.address,
        )  # fmt: skip
    given = ["--reference", f"held-out={place}/references", "--detector", "phash"]
    run("dedup", "--input_folder", "pairs", "--output_folder", "clean", *given)
    run("vocab", "--input_folder", "clean", "--output_folder", "vocab")
    run(
        "train_dvae", "tiny", "--input_folder", "clean", "--output_folder", "dvae", "--device", "cpu", "--resolution", 32,
        "--batch_size", 4, "--steps", 6, "--log_every", 2, "--eval_every", 3, "--vocab_size", 64,
    )  # fmt: skip
    made_with = ["--vocabulary", "vocab", "--dvae", "dvae/model.safetensors"]
    run("encode", "--input_folder", "clean", "--output_folder", "examples", "--device", "cpu", *made_with)
    run("audit", "examples", "--input_folder", "clean", "--sample", 4, *made_with)
    capsys.readouterr()
    prior = ["--vocabulary", "vocab", "--device", "cpu", "--steps", 20, "--log_every", 10]
    run("train_prior", "tiny", "--input_folder", "examples", *prior)

    assert "the loss fell from" in capsys.readouterr().out
    lines = [json.loads(line) for line in Path("prior/log.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] < lines[0]["loss"]
    lines = [json.loads(line) for line in Path("dvae/log.jsonl").read_text().splitlines()]
    assert [3, 6] == [line["step"] for line in lines if "training_psnr" in line]
    assert Path("examples-contact-sheet.png").stat().st_size > 1000
    said = read_manifest(Folder("examples"))
    assert ["ingest", "dedup"] == [each["job"] for each in said["lineage"]]
    left = [text for number, (_, text) in enumerate(rows) if number != COPY]
    assert (len(left), 1) == (said["counts"]["statuses"]["success"], said["counts"]["statuses"]["removed"])
    words, network = tokenizer.load("vocab"), dvae.load("dvae/model.safetensors")
    shards = ExampleShards("examples", vocabulary=words.fingerprint, dvae=network.fingerprint())
    batch = next(iter(Batches(shards, batch_size=len(left))))
    assert ((len(left), 256), (len(left), 1024)) == (batch["text_tokens"].shape, batch["image_codes"].shape)
    texts = [words.decode(tokens[tokens < words.vocab_size].tolist()) for tokens in batch["text_tokens"]]
    assert sorted(text.lower() for text in left) == sorted(texts)
    assert 0 <= int(batch["image_codes"].min()) <= int(batch["image_codes"].max()) < 64
