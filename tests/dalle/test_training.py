"""What trainings share, and that a dVAE's training can be interrupted, repeated and spread over processes."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dalle.dvae.network import DVAEConfig, load
from dalle.dvae.options import SIZES, ScheduleOptions, TrainOptions
from dalle.reading.folder_batches import FolderBatches
from dalle.train_dvae import main, train
from dalle.training import checkpoint
from dalle.training.steps import Average, Cosine, Log, Ranks, Stepper, perplexity
from tests.conftest import ROOT

UPDATES = 12


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of different sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for index in range(20):
        coarse = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
        pixels = cv2.resize(
            coarse, (int(rng.integers(40, 90)), int(rng.integers(40, 90))), interpolation=cv2.INTER_CUBIC
        )
        cv2.imwrite(str(folder / f"{index:02d}.png"), pixels)
    return folder


def options(photographs: Path, output_folder: Path) -> TrainOptions:
    schedule = ScheduleOptions(
        updates=UPDATES, beta_updates=4, tau_updates=8, step_size=1e-3, last_step_size=1e-4, step_size_updates=UPDATES
    )
    return TrainOptions(
        output_folder=output_folder,
        images=(photographs,),
        drawn_share=0.25,
        validation_images=photographs,
        resolution=32,
        batch_size=8,
        pictures_at_once=3,
        network=DVAEConfig(vocab_size=64, encoder_n_hid=8, decoder_n_hid=8, n_init=8, n_blk_per_group=1),
        schedule=schedule,
        average=0.9,
        seed=5,
        device="cpu",
        log_every=2,
        watch_every=6,
        checkpoint_every=4,
    )


def log_lines(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "pictures_per_second"} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(options(photographs, folder))
    return folder


def test_the_full_size_has_the_papers_figures() -> None:
    """App. A.2: what is annealed from where to where, how fast, and the batch."""
    full = SIZES["full"][1]
    at = full.schedule.at
    assert at(0) == (0, 1, 1e-4)
    assert at(5_000)[0] == at(4_000_000)[0] == 6.6
    assert at(150_000)[1] == at(4_000_000)[1] == 1 / 16
    assert at(1_200_000)[2] == at(4_000_000)[2] == 1.25e-6
    assert at(2_500)[0] == pytest.approx(3.3)
    assert at(75_000)[1] == pytest.approx((1 + 1 / 16) / 2)
    assert (full.schedule.updates, full.batch_size, full.resolution) == (3_000_000, 512, 256)
    assert (full.weight_decay, full.average) == (1e-4, 0.999)
    assert DVAEConfig() == full.network
    assert full.full_precision_codes


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(1, 1000), st.integers(0, 2000))
def test_a_cosine_never_leaves_its_ends_and_never_turns(first: float, last: float, updates: int, update: int) -> None:
    schedule = Cosine(first=first, last=last, updates=updates)
    low, high = min(first, last) - 1e-9, max(first, last) + 1e-9
    assert low <= schedule(update) <= high
    assert (schedule(update + 1) - schedule(update)) * (last - first) >= -1e-12
    assert (schedule(0), schedule(updates)) == pytest.approx((first, last))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(0, 0.999))
def test_the_average_is_the_sum_of_its_definition(values: list[float], decay: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, decay)
    for value in values:
        nn.init.constant_(network.weight, value)
        average.update()
    expected = sum((1 - decay) * decay ** (len(values) - 1 - i) * value for i, value in enumerate(values))
    assert float(average.state_dict()["weight"]) == pytest.approx(expected, abs=1e-4)
    with average.in_place():
        assert float(network.weight.detach()) == pytest.approx(expected, abs=1e-4)
    assert float(network.weight.detach()) == pytest.approx(values[-1])


def test_perplexity_is_how_many_codes_are_used_alike() -> None:
    assert perplexity([3, 3, 3, 3, 0, 0]) == pytest.approx(4)
    assert perplexity([5, 0]) == pytest.approx(1)


def test_float16_wants_cuda() -> None:
    optimiser = torch.optim.AdamW(nn.Linear(1, 1).parameters())
    with pytest.raises(ValueError, match="float16 is for CUDA, the device is cpu"):
        Stepper(optimiser, "float16", torch.device("cpu"))


def test_trees_come_back_from_checkpoints_bit_for_bit(tmp_path: Path) -> None:
    tree = {
        "step": 3,
        "optimiser": {"state": {0: {"exp_avg": torch.randn(2, 3, 4, 4)}, 7: {}}, "groups": [{"lr": 1e-4, "x": None}]},
        "empty": torch.zeros(0),
        "bytes": torch.arange(256, dtype=torch.uint8),
    }
    again = checkpoint.load(checkpoint.save(tmp_path, 3, tree))
    assert torch.equal(tree["optimiser"]["state"][0]["exp_avg"], again["optimiser"]["state"][0]["exp_avg"])  # type: ignore[index]
    assert torch.equal(tree["bytes"], again["bytes"])  # type: ignore[arg-type]
    assert again["optimiser"]["state"][7] == {}
    assert tree["optimiser"]["groups"] == again["optimiser"]["groups"]  # type: ignore[index]
    assert (again["step"], list(again)) == (3, list(tree))


def test_checkpoints_are_whole_or_not_there(tmp_path: Path) -> None:
    """The newest two stay; a failed one leaves nothing; what is no checkpoint is said to be none."""
    for step in (9, 10, 11):
        checkpoint.save(tmp_path, step, {"step": step})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00000010.safetensors", "00000011.safetensors"]
    with pytest.raises(TypeError, match="/x is a set, expected a tensor, a number"):
        checkpoint.save(tmp_path, 12, {"x": {1}})
    assert checkpoint.latest(tmp_path) == tmp_path / "00000011.safetensors"
    assert checkpoint.latest(tmp_path / "nowhere") is None
    (tmp_path / "00000012.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"00000012.safetensors: is no checkpoint of ours"):
        checkpoint.load(tmp_path / "00000012.safetensors")


def test_the_log_forgets_what_will_happen_again(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (2, 4, 6):
        log.figures(step, {"loss": 1 / step})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed here
    Log(tmp_path, 4).close()
    assert [2, 4] == [line["step"] for line in log_lines(tmp_path)]


def test_a_training_leaves_weights_a_log_and_reconstructions(uninterrupted: Path, photographs: Path) -> None:
    lines = log_lines(uninterrupted)
    losses = [line for line in lines if "loss" in line]
    assert [2, 4, 6, 8, 10, 12] == [line["step"] for line in losses]
    last = losses[-1]
    assert last["loss"] == pytest.approx(last["nll_per_subpixel"] + last["beta"] * last["kl_per_code"] / 192, abs=2e-3)
    assert 0 <= last["kl_per_code"] <= math.log(64)
    assert losses[0]["codes_counted"] == 8 * 16
    assert [6, 12] == [line["step"] for line in lines if "validation_psnr" in line]
    assert load(uninterrupted / "dvae.safetensors").config == options(photographs, uninterrupted).network
    assert list((uninterrupted / "tensorboard").iterdir())


def test_a_resumed_training_equals_an_uninterrupted_one(uninterrupted: Path, photographs: Path, tmp_path: Path) -> None:
    """Stopped after 4, 5 and 8 updates: the same weights, averages, moments and log, bit for bit."""
    whole = options(photographs, tmp_path)
    for updates in (5, 8, UPDATES):
        schedule = replace(whole.schedule, updates=updates)
        train(replace(whole, schedule=schedule))
        if updates == 5:
            (tmp_path / "checkpoints" / "00000005.safetensors").unlink()  # as if killed before it was written
    states = [
        checkpoint.load(folder / "checkpoints" / f"{UPDATES:08d}.safetensors") for folder in (tmp_path, uninterrupted)
    ]
    _assert_equal(*states)
    assert (uninterrupted / "dvae.safetensors").read_bytes() == (tmp_path / "dvae.safetensors").read_bytes()
    assert log_lines(uninterrupted) == log_lines(tmp_path)


def _assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)  # type: ignore[arg-type]
    elif isinstance(one, dict):
        assert list(one) == list(other)  # type: ignore[call-overload]
        for key, value in one.items():
            _assert_equal(value, other[key])  # type: ignore[index]
    else:
        assert one == other


def test_two_processes_train_as_one(photographs: Path, tmp_path: Path) -> None:
    """torchrun with two gloo processes and the same global batch: the same losses up to rounding."""
    flags = [
        *("tiny", "--images", str(photographs), "--output_folder", str(tmp_path / "two"), "--device", "cpu"),
        *("--resolution", "32", "--batch_size", "4", "--pictures_at_once", "1", "--updates", "6", "--log_every", "2"),
        *("--vocab_size", "64", "--precision", "float32", "--full_precision_codes"),
    ]
    command = [*(sys.executable, "-m", "torch.distributed.run"), *("--nproc_per_node", "2", "--master_port", "0")]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "dalle.train_dvae", *flags]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    flags[flags.index(str(tmp_path / "two"))] = str(tmp_path / "one")
    assert main(flags) == 0
    two, one = log_lines(tmp_path / "two"), log_lines(tmp_path / "one")
    assert len(one) == 3
    for line, expected in zip(two, one, strict=True):
        assert expected == pytest.approx(line, rel=2e-3, abs=2e-4)


def test_batches_are_the_same_for_any_number_of_processes(photographs: Path) -> None:
    """Ranks see between them what one process sees, and going on sees what would have come."""
    settings = {"batch_size": 6, "resolution": 32, "drawn_share": 1 / 3, "seed": 3}
    alone = FolderBatches([photographs], **settings)  # type: ignore[arg-type]
    shares = [FolderBatches([photographs], **settings, rank=rank, ranks=3) for rank in range(3)]  # type: ignore[arg-type]
    for number in (0, 3, 9):
        assert torch.equal(alone.batch(number), torch.cat([share.batch(number) for share in shares]))
    batches = iter(alone)
    first = [next(batches) for _ in range(3)]
    again = FolderBatches([photographs], **settings)  # type: ignore[arg-type]
    again.load_state_dict(alone.state_dict())
    assert torch.equal(alone.batch(3), next(iter(again)))
    assert not torch.equal(first[0], first[1])


def test_an_epoch_shows_every_picture_once(photographs: Path) -> None:
    """Twenty pictures make five batches of four; a plain colour tells which picture it was."""
    batches = FolderBatches([photographs], batch_size=4, resolution=32)
    seen = torch.cat([batches.batch(number) for number in range(5)]).float().mean((2, 3)).round()
    assert len({tuple(colour) for colour in seen.tolist()}) == 20


def test_bad_options_fail_before_anything_starts(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with exit code 2."""
    for flags, message in (
        ([], "expected either --input_folder, a dataset of pairs, or --images"),
        (["--images", photographs, "--batch_size", "64"], "20 pictures in"),
        (["--images", photographs, "--resolution", "100"], "--resolution is 100, expected a multiple of 8"),
        (["--images", photographs, "--drawn_share", "2"], "--drawn_share is 2.0, expected 0 to 1"),
        (["--no_such_flag", "1"], "--no_such_flag"),
    ):
        try:
            code: object = main(["tiny", "--output_folder", str(tmp_path / "x"), *map(str, flags)])
        except SystemExit as exit_:
            code = exit_.code
        assert code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="--batch_size is 9, expected a multiple of the 2 processes"):
        Ranks(rank=0, count=2, device=torch.device("cpu")).share(9, "--batch_size")


def test_a_checkpoint_of_another_network_or_other_pictures_is_refused(
    uninterrupted: Path, photographs: Path, tmp_path: Path
) -> None:
    whole = options(photographs, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "00000004.safetensors").write_bytes(
        (uninterrupted / "checkpoints" / "00000008.safetensors").read_bytes()
    )
    with pytest.raises(ValueError, match="the checkpoint is of a network with"):
        train(replace(whole, network=replace(whole.network, n_init=16)))
    with pytest.raises(ValueError, match="do not hold the pictures that this training began with"):
        train(replace(whole, images=(photographs, photographs)))
