"""Jobs that are given no folders take the sample's and say so; where those are not there, they say what makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from dalle import dvae, scenes, train_dvae
from pipelines import audit, encode, ingest, vocab
from pipelines.sample_web.collecting import served_list
from pipelines.work.ingest_options import IngestOptions
from schemas.folder import Folder
from schemas.manifest import read_manifest
from schemas.planning import SayOptions

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (
            vocab,
            "data/sample/clean: no folder given, and the sample's is not there; run python -m pipelines.dedup first",
        ),
        (encode, "data/sample/clean: no folder given"),
        (train_dvae, "data/sample/clean: no folder given"),
        (audit, "run python -m pipelines.ingest first"),
    ],
)
def test_without_the_sample_they_say_what_makes_it(
    job: object, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 2, one sentence, nothing made."""
    monkeypatch.chdir(tmp_path)
    assert 2 == job.main([])  # type: ignore[attr-defined]
    said = capsys.readouterr().err
    assert told in said
    assert 1 == len(said.splitlines())
    assert not list(tmp_path.iterdir())


def test_with_the_sample_they_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Each says which folders; encode and audit take the vocabulary that was learnt from it."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for number in range(3):
        scene = scenes.compose(number, 96, 96)
        Image.fromarray(scenes.draw(scene)).save(f"pictures/{number}.png")
        Path(f"pictures/{number}.txt").write_text(scenes.describe(scene, 1)[0])
    collect = ["--dataset", "folder", "--url_list", "pictures", "--output_folder", "data/sample/clean"]
    assert 0 == ingest.main([*collect, "--processes_count", "1"])
    capsys.readouterr()
    assert 0 == vocab.main([])
    assert "learning from the captions of data/sample/clean, into data/sample/vocab" in capsys.readouterr().out
    assert 2 == encode.main(["--output_folder", "elsewhere"])
    assert "--input_folder is missing" in capsys.readouterr().err
    torch.manual_seed(0)
    size = dvae.DVAEConfig(vocab_size=16, encoder_n_hid=4, decoder_n_hid=4, n_init=4, n_blk_per_group=1)
    dvae.save(dvae.DVAE(size), "dvae.safetensors")
    given = ["--dvae", "dvae.safetensors", "--processes_count", "1"]
    assert 0 == encode.main([*given, "--device", "cpu"])
    assert "encoding data/sample/clean with the vocabulary data/sample/vocab and the dVAE dvae.safetensors, into" in (
        " ".join(capsys.readouterr().out.split())
    )
    said = read_manifest(Folder("data/sample/examples"))["options"]
    assert read_manifest(Folder("data/sample/vocab"))["options"]["vocabulary"] == said["vocabulary"]
    assert 0 == audit.main(given)
    told = capsys.readouterr().out
    assert "checking data/sample/examples, and encoding 16 of its examples again from data/sample/clean" in told
    assert "data/sample/examples-contact-sheet.png: 3 pictures" in told

    Path("pictures/2.png").unlink()  # another sample: what was made from the old one is made anew
    assert 0 == ingest.main([*collect, "--processes_count", "1", "--incremental_mode", "overwrite"])
    assert 0 == vocab.main([])
    assert 0 == encode.main([*given, "--device", "cpu"])
    assert 2 == read_manifest(Folder("data/sample/examples"))["counts"]["statuses"]["success"]
    assert "renew" in train_dvae.SAMPLE.flags()
    shutil.rmtree("data/sample/examples")
    assert 0 == audit.main(["--processes_count", "1"])
    assert "no folder given: checking data/sample/clean\n" in capsys.readouterr().out
    assert ["data", "dvae.safetensors", "pictures"] == sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize(("said", "expected"), [(None, 100), (50, 50), (10_000, 10_000)])
def test_rows_of_a_shard_of_the_sample_web(
    said: int | None, expected: int, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred unless a number is said, also where that is what other lists have by default."""
    monkeypatch.chdir(sample)
    with served_list(IngestOptions(say=SayOptions(plan=True), number_sample_per_shard=said)) as options:
        assert expected == options.rows_per_shard
    assert 10_000 == IngestOptions().rows_per_shard
