"""The training of a contrastive model: what it learns, what it leaves, how it goes on, what it says and refuses."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dalle import contrastive, scenes, train_contrastive
from dalle.contrastive import network
from dalle.contrastive.config import ContrastiveConfig, SizeOptions
from dalle.contrastive.flops import image_flops, text_flops
from dalle.contrastive.watching import recall
from dalle.pictures.squares import centre_square
from dalle.training.logs import read_log
from schemas.folder import Folder
from schemas.manifest import read_manifest
from tests.conftest import ROOT
from tests.examples import write_dataset, write_pictures, write_scenes

SMALL = ("--image_size", 32, "--image_width", 32, "--image_layers", 1, "--text_width", 32, "--text_layers", 1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two shards of drawn scenes."""
    return write_scenes(tmp_path_factory.mktemp("pairs") / "clean", (90, 70), side=40)


def flags(folder: str, out: Path, *more: object) -> list[str]:
    sizes = (*SMALL, "--device", "cpu", "--steps", 8, "--log_every", 2, "--batch_size", 8, "--warmup_steps", 2)
    return [str(flag) for flag in ("tiny", "--input_folder", folder, "--output_folder", out, *sizes, *more)]


def test_it_leaves_a_model_that_scores(pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Recall is printed and logged, lineage is in the manifest, the file needs no other and gives the network's vectors."""
    assert 0 == train_contrastive.main(flags(pairs, tmp_path / "model", "--eval_every", 4))
    printed = capsys.readouterr().out
    assert "pairs: 160 of" in printed
    assert "held out: 40 pairs, 0 of those trained on have a picture of theirs" in printed
    assert 2 == printed.count("\n  recall@1 among 40 held-out pairs: image->text ")
    assert 1 == printed.count("in the end recall@1 among 40 held-out pairs")
    lines = read_log(tmp_path / "model")
    assert [4, 8] == [line["step"] for line in lines if "recall_image_to_text" in line]
    assert lines[0]["loss"] == pytest.approx(math.log(8), abs=1)
    manifest = read_manifest(Folder(tmp_path / "model"), table="model")
    assert ["pairs", "vocabulary"] == [each["name"] for each in manifest["inputs"]]
    assert ["dedup", "made up"] == [each["job"] for each in manifest["lineage"]]
    shutil.copy(tmp_path / "model/model.safetensors", tmp_path / "elsewhere.safetensors")
    full, short, folder = (
        contrastive.load(str(tmp_path / name), precision)
        for name, precision in (("elsewhere.safetensors", "float32"), ("model", "bfloat16"), ("model", "float32"))
    )
    assert full.fingerprint == folder.fingerprint
    clip, config, words = network.load(tmp_path / "model/model.safetensors")
    drawn = [scenes.draw(scenes.compose(seed, 50, 40 + seed)) for seed in range(20)]
    captions = ["a red boat", "two dogs"]
    squares = np.stack([centre_square(pixels, config.image_size) for pixels in drawn]).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        of_pictures = F.normalize(clip.encode_image(network.normalised(torch.from_numpy(squares)))).numpy()
        of_captions = F.normalize(clip.encode_text(torch.from_numpy(words(captions)))).numpy()
    assert np.abs(full.embed_pictures(drawn) - of_pictures).max() < 1e-4
    assert np.abs(full.embed_captions(captions) - of_captions).max() < 1e-4
    assert np.abs(short.scores(captions[1], drawn) - of_pictures @ of_captions[1]).max() < 0.03
    with pytest.raises(ValueError, match="has no tokens"):
        full.scores(" ", drawn)


def test_it_goes_on_in_all_its_parts(pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Stopped after any step, with other workers: the same bits; what is finished stays as it is."""
    more = ("--save_every", 1, "--eval_every", 3, "--validation_share", 0.1)
    assert 0 == train_contrastive.main(flags(pairs, tmp_path / "whole", *more))
    for steps in (1, 4, 8):
        assert 0 == train_contrastive.main(
            flags(pairs, tmp_path / "model", *more, "--steps", steps, "--workers", int(steps == 4))
        )
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "model"))
    assert whole.read_bytes() == resumed.read_bytes()
    names = ("step", "loss", "scale", "recall_image_to_text")
    logs = [[[line.get(name) for name in names] for line in read_log(each.parent)] for each in (whole, resumed)]
    assert logs[0] == logs[1]
    capsys.readouterr()
    assert 0 == train_contrastive.main(flags(pairs, tmp_path / "model", *more))
    assert "is finished already, nothing to do" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_train_as_one(pairs: str, tmp_path: Path) -> None:
    """torchrun with two gloo processes: each picture is compared with both processes' captions, the same but for rounding."""
    more = ("--precision", "float32", "--eval_every", 4, "--log_every", 1, "--steps", 4)
    command = [*(sys.executable, "-m", "torch.distributed.run"), *("--nproc_per_node", "2", "--rdzv_backend", "c10d")]
    command += ["--rdzv_endpoint", "localhost:0", "-m", "dalle.train_contrastive"]
    run = subprocess.run(
        [*command, *flags(pairs, tmp_path / "two", *more)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    assert 0 == train_contrastive.main(flags(pairs, tmp_path / "one", *more))
    two, one = read_log(tmp_path / "two"), read_log(tmp_path / "one")
    assert 5 == len(one)
    for line, expected in zip(two, one, strict=True):
        named = [name for name in line if name in ("step", "loss", "scale", "grad_norm") or "recall" in name]
        assert len(named) >= 3
        assert [expected[name] for name in named] == pytest.approx([line[name] for name in named], rel=2e-3)
    weights = [safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert max(float((value - weights[1][name]).abs().max()) for name, value in weights[0].items()) < 5e-3


@pytest.mark.slow
def test_it_learns_what_is_in_pictures(tmp_path: Path) -> None:
    """A small form of benchmarks/contrastive.py: far above chance on pairs that it has not seen."""
    folder = write_scenes(tmp_path / "clean", (500,), side=32)
    sizes = ("--steps", 100, "--batch_size", 32, "--image_width", 64, "--image_layers", 2, "--patch_size", 8)
    more = ("--eval_every", 100, "--text_width", 64, "--decay_steps", 100, "--warmup_steps", 10, "--log_every", 40)
    assert 0 == train_contrastive.main(flags(folder, tmp_path / "model", *sizes, *more))
    found = next(line for line in read_log(tmp_path / "model") if "recall_image_to_text" in line)
    assert found["recall_image_to_text"] + found["recall_text_to_image"] >= 0.1, "chance are 0.02"


def test_recall_is_counted() -> None:
    """Of vectors that are given: partners, strangers, and some of each."""
    vectors = torch.eye(6)
    groups = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    assert (1.0, 1.0) == (
        recall(vectors, vectors, groups).image_to_text,
        recall(vectors, vectors, groups).text_to_image,
    )
    swapped = vectors[[1, 0, 2, 3, 4, 5]]
    assert pytest.approx(4 / 6) == recall(vectors, swapped, groups).image_to_text
    assert "recall@1 among 2 times 3 held-out pairs" in str(recall(vectors, swapped, groups))
    one_sided = torch.tensor([[1.0, 0], [0.9, 0.1]]), torch.tensor([[1.0, 0], [0.8, 0]])
    found = recall(*one_sided, [np.array([0, 1])])
    assert (0.5, 0.5) == (found.image_to_text, found.text_to_image)


@pytest.mark.parametrize(
    "size", [SizeOptions(), SizeOptions(image_size=48, patch_size=16, image_layers=2, text_layers=3)]
)
def test_flops_are_those_that_torch_counts(size: SizeOptions) -> None:
    """Of both towers, by their formulas; of ViT-B/32 too, on no memory."""
    with torch.device("meta"):
        clip = network.make(ContrastiveConfig(**vars(size))).train()
        for formula, run in (
            (image_flops, lambda: clip.encode_image(torch.zeros(2, 3, size.image_size, size.image_size))),
            (text_flops, lambda: clip.encode_text(torch.zeros(2, size.text_length, dtype=torch.int64))),
        ):
            with FlopCounterMode(display=False) as counter:
                run()
            assert counter.get_total_flops() == 2 * formula(size)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch_size", 121), "has 120 pairs with a caption to train on, expected at least the 121 of one batch"),
        (("--batch_size", 1), "--batch_size 1: expected 2 or more, to tell pairs apart"),
        (("--image_size", 30), "--image_size 30: expected a multiple of --patch_size, 16"),
        (("--text_heads", 5), "--text_width 32: expected a multiple of --text_heads, 5"),
        (("--ema_decay", 1), "--ema_decay 1: expected 0 to below 1"),
        (("--vocabulary", "nowhere"), "nowhere"),
        (("--input_folder", "nowhere"), "nowhere: is not there, so it is not a finished dataset"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture, more: tuple, message: str
) -> None:
    """Exit code 2, one sentence, nothing left behind."""
    code = train_contrastive.main(flags(pairs, tmp_path / "model", *more))
    assert 2 == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "model").exists()


def test_other_datasets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Examples instead of pairs, pairs that were never cleaned, pairs without uids."""
    examples = write_dataset(tmp_path / "examples", (9, 4))
    uncleaned = write_scenes(tmp_path / "uncleaned", (12,), lineage=[])
    for folder, message in (
        (
            examples,
            "examples: holds examples, expected pairs; give the folder that pipelines.ingest or pipelines.dedup left",
        ),
        (uncleaned, "was never cleaned of near-duplicates"),
        (write_pictures(tmp_path / "grey", (12,)), "00000.parquet: a pair has no uid; run pipelines.audit"),
    ):
        assert 2 == train_contrastive.main(flags(folder, tmp_path / "model"))
        error = capsys.readouterr().err
        assert message in error
        assert 1 == len(error.splitlines())
    assert 0 == train_contrastive.main(flags(uncleaned, tmp_path / "model", "--allow_undeduplicated"))


@pytest.mark.parametrize(
    "what", ["nan", "another", "no vocabulary", "half a character", "other vocabulary", "unfinished"]
)
def test_a_file_that_is_no_model_is_one_sentence(what: str, pairs: str, tmp_path: Path) -> None:
    """Of weights that hold NaN, of another network, with another vocabulary or none."""
    config = ContrastiveConfig(
        dimension=8, image_size=16, patch_size=8, image_layers=1, image_width=8, image_heads=1,
        text_layers=1, text_width=8, text_heads=1, text_length=4, vocab_size=300,
    )  # fmt: skip
    path = tmp_path / "model.safetensors"
    weights = {name: value.contiguous() for name, value in network.make(config).state_dict().items()}
    if what == "nan":
        weights["text_projection"][0, 0] = torch.inf
    if what == "another":
        del weights["ln_final.weight"]
    model: dict[str, object] = {"config": vars(config)}
    if what == "other vocabulary":
        model["tokenizer"] = contrastive_vocabulary()
    if what == "half a character":
        model["tokenizer"] = "\ud800"
    safetensors.torch.save_file(weights, path, {"model": json.dumps(model)})
    expected = {
        "nan": "1 of its .* tensors hold NaN or infinity, the first is text_projection",
        "another": r"is not a contrastive model that dalle.train_contrastive wrote \(has no weights ln_final.weight\)",
        "half a character": "its vocabulary: not a vocabulary",
        "no vocabulary": "its vocabulary: not a vocabulary",
        "other vocabulary": "its vocabulary has 16,384 entries, its network is for 299",
        "unfinished": "is empty, expected a contrastive model; give the folder that dalle.train_contrastive left",
    }
    if what == "unfinished":
        path = tmp_path / "model"
        path.mkdir()
    with pytest.raises(ValueError, match=expected[what]) as caught:
        contrastive.load(str(path))
    assert "\n" not in str(caught.value)


def contrastive_vocabulary() -> str:
    return (ROOT / "dalle/weights/vocabulary.json").read_text()


def test_no_arguments_take_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the sample is not there, what makes it is named."""
    monkeypatch.chdir(tmp_path)
    assert 2 == train_contrastive.main([])
    assert "data/sample/clean: no folder given, and the sample's is not there" in capsys.readouterr().err
