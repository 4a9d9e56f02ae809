"""A dVAE's training: the paper's figures, interrupted, repeated, spread over processes, and what it refuses."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dalle.dvae.files import load
from dalle.dvae.network import DVAEConfig
from dalle.dvae.options import PRESETS, RelaxationOptions, TrainDVAEOptions, TrainingPictureOptions
from dalle.dvae.watching import perplexity
from dalle.train_dvae import main, train_dvae
from dalle.training import checkpoint
from dalle.training.logs import read_log
from dalle.training.options import LoopOptions
from dalle.training.steps import OptimizerOptions
from tests.examples import write_image_folder

STEPS = 12


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of different sizes."""
    return write_image_folder(tmp_path_factory.mktemp("photographs"), 20)


def options(photographs: Path, output_folder: Path) -> TrainDVAEOptions:
    return TrainDVAEOptions(
        loop=LoopOptions(
            output_folder=output_folder,
            steps=STEPS,
            batch_size=8,
            seed=5,
            device="cpu",
            log_every=2,
            eval_every=6,
            save_every=4,
        ),
        optimizer=OptimizerOptions(learning_rate=1e-3, min_learning_rate=1e-4, decay_steps=STEPS, weight_decay=1e-4),
        relaxation=RelaxationOptions(beta_steps=4, tau_steps=8),
        pictures=TrainingPictureOptions(
            images=(photographs,), drawn_share=0.25, validation_images=photographs, resolution=32, workers=0
        ),
        network=DVAEConfig(vocab_size=64, encoder_n_hid=8, decoder_n_hid=8, n_init=8, n_blk_per_group=1),
        micro_batch_size=3,
        ema_decay=0.9,
    )


def with_loop(base: TrainDVAEOptions, **changes: object) -> TrainDVAEOptions:
    return replace(base, loop=replace(base.loop, **changes))


def log_lines(folder: Path) -> list[dict[str, float]]:
    """Without what takes another time each time."""
    times = ("samples_per_second", "waiting_for_data")
    return [{name: value for name, value in line.items() if name not in times} for line in read_log(folder)]


@pytest.fixture(scope="module")
def uninterrupted(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert 0 == train_dvae(options(photographs, folder))
    return folder


def test_the_full_size_has_the_papers_figures() -> None:
    """App. A.2: what is annealed from where to where, how fast, and the batch."""
    full = PRESETS["full"][1]
    at, rate = full.relaxation.at, full.optimizer.schedule()
    assert (0, 1, 1e-4) == (*at(0), rate(0))
    assert 6.6 == at(5_000)[0] == at(4_000_000)[0]
    assert 1 / 16 == at(150_000)[1] == at(4_000_000)[1]
    assert 1.25e-6 == rate(1_200_000) == rate(4_000_000)
    assert 3.3 == pytest.approx(at(2_500)[0])
    assert (1 + 1 / 16) / 2 == pytest.approx(at(75_000)[1])
    assert (3_000_000, 512, 256) == (full.loop.steps, full.loop.batch_size, full.pictures.resolution)
    assert (1e-4, 0.999, (0.9, 0.999)) == (full.optimizer.weight_decay, full.ema_decay, full.optimizer.betas)
    assert DVAEConfig() == full.network
    assert full.full_precision_codes


def test_perplexity_is_how_many_codes_are_used_alike() -> None:
    assert 4 == pytest.approx(perplexity([3, 3, 3, 3, 0, 0]))
    assert 1 == pytest.approx(perplexity([5, 0]))


def test_a_training_leaves_weights_a_log_and_reconstructions(uninterrupted: Path, photographs: Path) -> None:
    lines = log_lines(uninterrupted)
    losses = [line for line in lines if "loss" in line]
    assert [2, 4, 6, 8, 10, 12] == [line["step"] for line in losses]
    last = losses[-1]
    assert last["loss"] == pytest.approx(last["nll_per_subpixel"] + last["beta"] * last["kl_per_code"] / 192, abs=2e-3)
    assert 0 <= last["kl_per_code"] <= math.log(64)
    assert 8 * 16 == losses[0]["codes_counted"]
    assert [6, 12] == [line["step"] for line in lines if "validation_psnr" in line]
    assert load(uninterrupted / "model.safetensors").config == options(photographs, uninterrupted).network
    assert list((uninterrupted / "tensorboard").iterdir())


def test_a_resumed_training_equals_an_uninterrupted_one(uninterrupted: Path, photographs: Path, tmp_path: Path) -> None:
    """Stopped after 4, 5 and 8 steps: the same weights, averages, moments and log, bit for bit."""
    whole = options(photographs, tmp_path / "out")
    for steps in (5, 8, STEPS):
        assert 0 == train_dvae(with_loop(whole, steps=steps))
        if steps == 5:
            (tmp_path / "out/checkpoints/00000005.safetensors").unlink()  # as if killed before it was written
    folders = (uninterrupted, tmp_path / "out")
    states = [checkpoint.load(folder / "checkpoints" / f"{STEPS:08d}.safetensors") for folder in folders]
    assert_equal(*states)
    for file in ("model.safetensors", "manifest.json"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    assert log_lines(folders[0]) == log_lines(folders[1])


def assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_equal(value, other[key])
    else:
        assert one == other


def test_the_same_command_again_does_nothing(
    uninterrupted: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither does another that would change what is finished, unless it is told to begin anew."""
    before = {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()}
    assert 0 == train_dvae(options(photographs, uninterrupted))
    assert "is finished already, nothing to do" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"was trained with another ema_decay \(0.9\); --incremental_mode overwrite"):
        train_dvae(replace(options(photographs, uninterrupted), ema_decay=0.5))
    assert before == {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_overwritten_is_trained_anew(photographs: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """With the bytes of a first run."""
    anew = options(photographs, tmp_path / "out")
    assert 0 == train_dvae(with_loop(replace(anew, network=replace(anew.network, n_init=16)), steps=2))
    with pytest.raises(ValueError, match="was begun with a network of"):
        train_dvae(anew)
    assert 0 == train_dvae(with_loop(anew, incremental_mode="overwrite"))
    assert (uninterrupted / "model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
    assert log_lines(uninterrupted) == log_lines(tmp_path / "out")


def test_bad_options_fail_before_anything_starts(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with exit code 2."""
    for flags, message in (
        ([], "expected either --input_folder, a dataset of pairs, or --images"),
        (["--images", photographs, "--batch_size", "64"], "20 pictures in"),
        (["--images", photographs, "--resolution", "100"], "--resolution 100: expected a multiple of 8"),
        (["--images", photographs, "--drawn_share", "2"], "--drawn_share 2.0: expected 0 to 1"),
        (["--no_such_flag", "1"], "--no_such_flag"),
        (["--images", tmp_path / "nowhere"], "nowhere"),
    ):
        code = main(["tiny", "--output_folder", str(tmp_path / "x"), *map(str, flags)])
        assert code == 2, flags
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_picture_is_named(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    """Whoever reads it: the training ends with its name."""
    folder = write_image_folder(tmp_path / "pictures", 3)
    (folder / "zebra.png").write_bytes((folder / "00.png").read_bytes()[:40])
    flags = ["tiny", "--images", folder, "--output_folder", tmp_path / "x", "--batch_size", 4, "--resolution", 16]
    assert 2 == main([*map(str, flags), "--steps", "3", "--workers", str(workers)])
    error = capsys.readouterr().err
    assert 1 == len(error.splitlines())
    assert "zebra.png" in error


def test_a_checkpoint_of_another_network_or_other_pictures_is_refused(
    uninterrupted: Path, photographs: Path, tmp_path: Path
) -> None:
    whole = options(photographs, tmp_path / "out")
    shutil.copytree(uninterrupted, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="was begun with a network of"):
        train_dvae(replace(whole, network=replace(whole.network, n_init=16)))
    with pytest.raises(ValueError, match=r"was made from images \(\w{12}\), now images \(\w{12}\) is given"):
        train_dvae(replace(whole, pictures=replace(whole.pictures, drawn_share=0.5)))
    with pytest.raises(ValueError, match="was begun with the seed 5, now it is 6"):
        train_dvae(with_loop(whole, seed=6))
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_a_model_stays_until_another_can_take_its_place(uninterrupted: Path, photographs: Path, tmp_path: Path) -> None:
    """Told to begin anew on pictures of which one cannot be read: what was there is there again."""
    shutil.copytree(uninterrupted, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folder = write_image_folder(tmp_path / "pictures", 7)
    (folder / "zebra.png").write_bytes(b"")
    anew = with_loop(options(photographs, tmp_path / "out"), incremental_mode="overwrite")
    with pytest.raises(ValueError, match=r"zebra.png"):
        train_dvae(replace(anew, pictures=replace(anew.pictures, images=(folder,), drawn_share=0.0)))
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_weights_that_are_spoilt_are_no_model(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and one sentence; no checkpoint and no manifest says otherwise."""
    flags = [
        "tiny",
        "--images",
        photographs,
        "--output_folder",
        tmp_path / "out",
        "--resolution",
        16,
        "--batch_size",
        4,
    ]
    for log_every in (1, 8):
        more = ["--steps", 8, "--learning_rate", 1e30, "--warmup_steps", 0, "--log_every", log_every, "--save_every", 3]
        assert 1 == main([*map(str, flags), *map(str, more)])
        error = capsys.readouterr().err
        assert 1 == len(error.splitlines())
        assert "the loss is" in error or "weights are not finite" in error
    assert not (tmp_path / "out/manifest.json").exists()
    assert not list((tmp_path / "out").glob("checkpoints/*"))


def test_a_pipe_among_the_pictures_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named."""
    folder = write_image_folder(tmp_path / "pictures", 3)
    os.mkfifo(folder / "x.png")
    flags = ["tiny", "--images", folder, "--output_folder", tmp_path / "x", "--batch_size", 4, "--resolution", 16]
    assert 2 == main([*map(str, flags), "--steps", "3"])
    assert "x.png: is no plain file" in capsys.readouterr().err
