"""Patch networks: where they begin, that a code is the nearest one, and that a training is the same however it goes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from dalle.dvae import run
from dalle.dvae.bf16 import BF16DVAE
from dalle.dvae.files import BUILTIN, load, save
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import DVAE, DVAEConfig
from dalle.dvae.patch_codes import begin
from dalle.dvae.patch_network import PatchEncoder
from dalle.pictures.augment import dvae_view
from dalle.train_dvae import main
from schemas.manifest import WEIGHTS
from tests.conftest import ROOT
from tests.dalle.dvae.test_head_start import assert_same_model
from tests.dalle.dvae.test_train_dvae import assert_equal, log_lines
from tests.examples import write_image_folder

CONFIG = DVAEConfig(vocab_size=64, encoder_n_hid=32, decoder_n_hid=32, n_init=24, n_blk_per_group=1, patches=1)
SMALL = ["--vocab_size", 64, "--resolution", 32, "--encoder_n_hid", 32, "--decoder_n_hid", 32, "--n_init", 24]
SMALL += ["--n_blk_per_group", 1, "--batch_size", 8, "--micro_batch_size", 4, "--warmup_steps", 2, "--log_every", 4]
SMALL += ["--device", "cpu", "--workers", 0, "--eval_every", 6, "--save_every", 4]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of different sizes."""
    return write_image_folder(tmp_path_factory.mktemp("photographs"), 20)


def train(photographs: Path, folder: Path, *flags: object) -> int:
    words = ["drawings", "--images", photographs, *SMALL, "--output_folder", folder, *flags]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def undisturbed(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert 0 == train(photographs, folder, "--steps", 12)
    return folder


def mosaics(seed: int, kinds: int, count: int) -> torch.Tensor:
    """Pictures of so many kinds of patches, [count, 3, 32, 32] uint8."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (kinds, 3, 8, 8), np.uint8)
    grid = patches[rng.integers(0, kinds, (count, 4, 4))]  # [N, 4, 4, 3, 8, 8]
    return torch.from_numpy(grid.transpose(0, 3, 1, 4, 2, 5).reshape(count, 3, 32, 32).copy())


def begun(seed: int, pictures: torch.Tensor) -> DVAE:
    torch.manual_seed(seed)
    dvae = DVAE(CONFIG)
    begin(dvae, cycle([pictures]), seed)
    return dvae.eval()


@pytest.mark.parametrize("seed", range(3))
def test_it_begins_with_few_kinds_of_patches_known(seed: int) -> None:
    """Before any step: a code for each of a dozen kinds, and what comes back is nearer to it than to any other."""
    pictures = mosaics(seed, 12, 40)
    dvae = begun(seed, pictures)
    codes = dvae.encode(pictures)
    patches = pictures.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 192)  # [N, 192]
    _, kinds = patches.unique(dim=0, return_inverse=True)
    for kind in range(12):
        assert 1 == len(codes.flatten()[kinds == kind].unique()), "a patch has one code, wherever it is"
    assert 12 == len(codes.unique())
    assert float((dvae.decode(codes) - pictures / 255).abs().mean()) < 0.02


def test_it_begins_the_same_each_time() -> None:
    pictures = mosaics(5, 30, 20)
    assert_equal(dict(begun(1, pictures).state_dict()), dict(begun(1, pictures).state_dict()))


def assert_nearest(dvae: DVAE, pictures: torch.Tensor) -> None:
    assert isinstance(dvae.encoder, PatchEncoder)
    with torch.inference_mode():
        numbers = dvae.encoder.numbers(map_pixels(pictures)).permute(0, 2, 3, 1).flatten(0, 2)
        distances = torch.cdist(numbers, dvae.codebook())
    codes = dvae.encode(pictures).flatten()
    assert float((distances.gather(1, codes[:, None])[:, 0] - distances.amin(1)).max()) < 1e-2  # stored in 16 bits


def test_a_training_lowers_the_error_and_its_codes_are_the_nearest(undisturbed: Path, photographs: Path) -> None:
    dvae = load(undisturbed / WEIGHTS)
    assert_nearest(dvae, mosaics(3, 200, 8))
    errors = [line["straight_error"] for line in log_lines(undisturbed) if "straight_error" in line]
    assert 3 == len(errors)
    assert errors[-1] < errors[0] < 0.25
    assert len(dvae.encode(mosaics(3, 200, 8)).unique()) > 10


def test_a_resumed_training_equals_an_uninterrupted_one(undisturbed: Path, photographs: Path, tmp_path: Path) -> None:
    """Finished after its first step and on its way; each time with more steps: the same bits in the end."""
    for steps in (1, 5, 12):
        assert 0 == train(photographs, tmp_path / "out", "--steps", steps, "--decay_steps", 2_000)
    assert 0 == train(photographs, tmp_path / "whole", "--steps", 12, "--decay_steps", 2_000)
    assert_same_model(tmp_path / "whole", tmp_path / "out")


@pytest.mark.parametrize("after", [False, True])
def test_stopped_while_its_codes_are_chosen_it_goes_on_to_the_same(
    after: bool, undisturbed: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM before and after: the choice is made again."""

    def stopping(*args: Any) -> None:
        if not after:
            signal.raise_signal(signal.SIGTERM)
        begin(*args)
        if after:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(run, "begin", stopping)
        assert 128 + signal.SIGTERM == train(photographs, tmp_path / "out", "--steps", 12)
    assert 0 == train(photographs, tmp_path / "out", "--steps", 12)
    assert_same_model(undisturbed, tmp_path / "out")


def test_it_can_begin_with_anothers_codes(undisturbed: Path, photographs: Path, tmp_path: Path) -> None:
    """As they are: one step at next to no rate moves none of them."""
    flags = ["--init_from", undisturbed, "--steps", 1, "--learning_rate", 1e-9, "--min_learning_rate", 0]
    assert 0 == train(photographs, tmp_path / "out", *flags)
    before, after = load(undisturbed / WEIGHTS), load(tmp_path / "out" / WEIGHTS)
    assert torch.allclose(before.codebook(), after.codebook(), atol=1e-3)


def test_files_say_which_network_it_is(tmp_path: Path) -> None:
    """And those of the released network say nothing new, so that their fingerprints stay."""
    dvae = begun(2, mosaics(2, 30, 20))
    save(dvae, tmp_path / "patches.safetensors")
    again = load(tmp_path / "patches.safetensors")
    assert CONFIG == again.config
    assert_nearest(again, mosaics(2, 30, 20))
    with safetensors.safe_open(BUILTIN, "pt") as file:
        config = json.loads(file.metadata()["config"])
    assert "patches" not in config
    save(load(BUILTIN), tmp_path / "builtin.safetensors")
    with safetensors.safe_open(tmp_path / "builtin.safetensors", "pt") as file:
        assert config == json.loads(file.metadata()["config"])


def test_bfloat16_is_close() -> None:
    """Its codes may be others that are as near, and give the same pictures."""
    pictures = mosaics(4, 40, 10)
    dvae = begun(4, pictures)
    fast = BF16DVAE(dvae)
    codes = dvae.encode(pictures)
    expected = dvae.decode(codes)
    assert float((fast.decode(codes) - expected).abs().mean()) < 0.01
    assert float((dvae.decode(fast.encode(pictures)) - expected).abs().mean()) < 0.01


@pytest.mark.parametrize("mirrored", [True, False])
def test_pictures_are_mirrored_unless_told_otherwise(mirrored: bool) -> None:
    """A picture of the resolution itself is seen as it is, or mirrored."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    views = [dvae_view(picture, np.random.default_rng(seed), 32, mirrored=mirrored) for seed in range(24)]
    seen = {bytes(view) for view in views}
    assert ({bytes(picture)} | ({bytes(np.ascontiguousarray(picture[:, ::-1]))} if mirrored else set())) == seen


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--head_start", "always"], "--head_start always: a patch network chooses its codes before its first step"),
        (["--patches", "2"], "patches is 2, expected 0 or 1"),
        (["--n_init", "33"], "n_init is 33, expected at most 32 for a patch network"),
    ],
)
def test_mistakes_are_said_in_one_sentence(
    flags: Sequence[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == train(tmp_path, tmp_path / "x", *flags)
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_two_processes_train_as_one(photographs: Path, tmp_path: Path) -> None:
    """torchrun with two gloo processes: the same losses up to rounding."""
    words = ["drawings", "--images", photographs, *SMALL, "--steps", 8, "--precision", "float32", "--output_folder"]
    command = [*(sys.executable, "-m", "torch.distributed.run"), *("--nproc_per_node", "2", "--master_port", "0")]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "dalle.train_dvae"]
    command += [*map(str, words), str(tmp_path / "two")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert 0 == done.returncode, done.stderr
    assert 0 == main([*map(str, words), str(tmp_path / "one")])
    two, one = log_lines(tmp_path / "two"), log_lines(tmp_path / "one")
    assert [4, 8] == [line["step"] for line in one if "loss" in line]
    for line, expected in zip(two, one, strict=True):
        assert expected == pytest.approx(line, rel=2e-2, abs=2e-3)
