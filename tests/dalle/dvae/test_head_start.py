"""A training with a head start: its codes are in use, it goes on to the same bits, and it says what it could not reach."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from dalle.dvae import head_start, run
from dalle.dvae.files import load
from dalle.dvae.head_start import Continuous, choose_centres, with_codes
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import DVAE, DVAEConfig
from dalle.dvae.options import PRESETS, SMALL_BUDGET, RelaxationOptions, TrainDVAEOptions
from dalle.dvae.phase import Phase
from dalle.dvae.run import DVAERun
from dalle.dvae.watching import CodeUsage
from dalle.train_dvae import decided_before, main, train_dvae
from dalle.training import checkpoint
from dalle.training.ema import Ema
from dalle.training.steps import OptimizerStep
from schemas.manifest import WEIGHTS
from tests.conftest import ROOT
from tests.dalle.dvae.test_train_dvae import assert_equal, log_lines, options, with_loop
from tests.examples import write_image_folder

STEPS, HEAD_START = 12, 6
SMALL = ["--vocab_size", 64, "--resolution", 32, "--encoder_n_hid", 8, "--decoder_n_hid", 8, "--n_init", 8]
Passed = Callable[[], None]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of different sizes."""
    return write_image_folder(tmp_path_factory.mktemp("photographs"), 20)


def with_head_start(photographs: Path, output_folder: Path) -> TrainDVAEOptions:
    """Twelve steps, six of them of the head start."""
    whole = options(photographs, output_folder)
    pictures = replace(whole.pictures, drawn_share=0.0, validation_images=None)
    return replace(whole, pictures=pictures, head_start="always", head_start_steps=HEAD_START)


def train_tiny(folder: Path, *flags: object) -> int:
    """A training of the size that a test has time for."""
    words = ["tiny", "--output_folder", folder, "--device", "cpu", *SMALL, *flags]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def undisturbed(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert 0 == train_dvae(with_head_start(photographs, folder))
    return folder


def assert_same_model(one: Path, other: Path) -> None:
    """Weights, manifest, log without times, and where the training stands."""
    for file in (WEIGHTS, "manifest.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    assert_equal(*(checkpoint.load(folder / "checkpoints" / f"{STEPS:08d}.safetensors") for folder in (one, other)))
    assert log_lines(one) == log_lines(other)


def test_more_than_half_of_the_codes_are_in_use(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a budget that leaves a training without a head start with a few: it says so, loudly, and is done all the same."""
    budget = ["--images", photographs, "--steps", 100, "--decay_steps", 40, "--log_every", 20]
    assert 0 == train_tiny(tmp_path / "with", *budget, "--head_start_steps", 60)
    said = capsys.readouterr()
    assert "" == said.err
    assert 32 < used(said.out)
    last = [line for line in log_lines(tmp_path / "with") if "codes_dead" in line][-1]
    assert 32 > last["codes_dead"]

    assert 0 == train_tiny(tmp_path / "without", *budget, "--head_start", "never")
    said = capsys.readouterr()
    assert 32 > used(said.out)
    (sentence,) = said.err.splitlines()
    assert f"dalle.train_dvae: only {used(said.out)} of 64 codes are in use" in sentence
    assert "fewer than half" in sentence
    assert "train with --head_start always, more --steps" in sentence
    assert 64 == load(tmp_path / "without" / WEIGHTS).config.vocab_size
    assert (tmp_path / "without/manifest.json").exists()


def used(said: str) -> int:
    """The codes in use, as the command said in the end."""
    (line,) = [line for line in said.splitlines() if line.startswith("  codes: ")]
    return int(line.split()[1])


@pytest.mark.parametrize(("used", "codes"), [(0, 2), (1, 2), (1, 3), (2, 3), (255, 512), (256, 512), (4096, 8192)])
def test_half_of_the_codes_is_enough(used: int, codes: int) -> None:
    """And one less is not."""
    assert (used < codes / 2) == CodeUsage(used=used, codes=codes, perplexity=1.0, positions=codes).few


def test_a_resumed_training_equals_an_uninterrupted_one(undisturbed: Path, photographs: Path, tmp_path: Path) -> None:
    """Finished in the head start, at its end, and after it; each time with more steps: the same bits in the end."""
    whole = with_head_start(photographs, tmp_path / "out")
    for steps in (3, HEAD_START, HEAD_START + 1, STEPS):
        assert 0 == train_dvae(with_loop(whole, steps=steps))
        assert (tmp_path / "out" / WEIGHTS).exists()
    assert_same_model(undisturbed, tmp_path / "out")


POINTS = ((Phase, "_backward"), (OptimizerStep, "__call__"), (Ema, "update"), (DVAERun, "_coded"))
"""Before and after which something of a step may have changed; and where the codes are chosen."""


@pytest.fixture
def pass_points(monkeypatch: pytest.MonkeyPatch) -> Callable[[Passed], None]:
    """Says what trainings do at each point that they pass from now on, in both phases and between them."""
    before: list[tuple[Any, str, Callable[..., object]]]
    before = [(owner, name, getattr(owner, name)) for owner, name in POINTS]
    before += [(head_start, "choose_centres", head_start.choose_centres), (run, "with_codes", run.with_codes)]

    def say(passed: Passed) -> None:
        for owner, name, call in before:
            monkeypatch.setattr(owner, name, _between(call, passed))

    return say


def _between(call: Callable[..., object], passed: Passed) -> Callable[..., object]:
    """The same function, between two points."""

    def passing(*args: object, **more: object) -> object:
        passed()
        result = call(*args, **more)
        passed()
        return result

    return passing


def test_stopped_at_any_point_it_goes_on_to_the_same(
    photographs: Path, tmp_path: Path, pass_points: Callable[[Passed], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM or Ctrl-C, at every point of the steps around the head start's end and at some of the others."""
    words = ["tiny", "--images", photographs, "--batch_size", 4, "--steps", 5, "--head_start_steps", 3, *SMALL]
    words += ["--vocab_size", 16, "--log_every", 2, "--save_every", 100, "--eval_every", 0, "--device", "cpu"]
    words += ["--output_folder"]
    passed: list[None] = []
    pass_points(lambda: passed.append(None))
    assert 0 == train_dvae_main(words, tmp_path / "whole")
    expected, points = ended(tmp_path / "whole"), len(passed)
    switch = 3 * 2 * 3  # three steps, with two points at each of three functions
    assert switch + 2 * 3 + 2 * 2 * 3 == points
    for point in (*range(0, switch - 1, 5), *range(switch - 1, switch + 8), points - 1):
        left, number = [point], (signal.SIGTERM, signal.SIGINT)[point % 2]

        def stop() -> None:
            left[0] -= 1  # noqa: B023
            if left[0] == -1:  # noqa: B023
                signal.raise_signal(number)  # noqa: B023

        pass_points(stop)
        assert 128 + number == train_dvae_main(words, tmp_path / f"{point}"), point
        assert 0 == train_dvae_main(words, tmp_path / f"{point}"), point
        assert_equal(expected, ended(tmp_path / f"{point}"))
    capsys.readouterr()


def train_dvae_main(words: Sequence[object], folder: Path) -> int:
    """As the command does it."""
    return main([*map(str, words), str(folder)])


def ended(folder: Path) -> dict[str, object]:
    """What a training left: weights, the log without times, where it stands."""
    last = checkpoint.latest(folder / "checkpoints")
    assert last is not None
    weights = {"bytes": (folder / WEIGHTS).read_bytes().hex()}
    return {**weights, "log": log_lines(folder), "checkpoint": checkpoint.load(last)}


def test_it_goes_on_in_the_phase_that_it_was_in(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Whatever is said now: codes that were chosen stay, and a head start that is not wanted any more ends at once."""
    whole = with_head_start(photographs, tmp_path / "out")
    assert 0 == train_dvae(with_loop(whole, steps=HEAD_START + 2))
    assert 0 == train_dvae(replace(whole, head_start="never"))
    assert "was begun with another head_start (always); goes on with what is given now" in capsys.readouterr().err
    early = with_head_start(photographs, tmp_path / "early")
    assert 0 == train_dvae(with_loop(replace(early, head_start="auto"), steps=3))
    longer = with_loop(replace(early, head_start="auto"), steps=SMALL_BUDGET)
    assert "always" == longer.decided(decided_before(longer.loop)).head_start, "more steps do not cut it short"
    assert "" == decided_before(replace(longer.loop, incremental_mode="overwrite"))
    assert 0 == train_dvae(replace(early, head_start="never"))
    kl = [line["step"] for line in log_lines(tmp_path / "early") if "kl_per_code" in line]
    assert [4, 6, 8, 10, 12] == kl
    assert [2, 4, 6] == [line["step"] for line in log_lines(tmp_path / "out") if "nats_per_position" in line]


def test_codes_are_the_nearest_centres() -> None:
    """Of the numbers before the noise; and the decoder gets the centre. The objective stays as it is."""
    torch.manual_seed(3)
    dvae = DVAE(DVAEConfig(vocab_size=32, encoder_n_hid=8, decoder_n_hid=8, n_init=8, n_blk_per_group=1))
    objective = Continuous(dvae)
    pictures = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(4))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    made = with_codes(objective, cycle([pictures]), 8)
    centres = choose_centres(objective, cycle([pictures]), 8)
    assert (32, objective.head.w.shape[0]) == centres.shape
    numbers = objective.numbers(map_pixels(pictures)).detach()
    distances = (numbers[:, None] - centres[None, :, :, None, None]).square().sum(2)  # [B, K, h, w]
    nearest = distances.argmin(1)
    codes = made.encode(pictures)
    margin = distances.gather(1, codes[:, None]) - distances.gather(1, nearest[:, None])
    assert float(margin.max()) < 1e-3
    assert len(nearest.unique()) > 28
    embedded = made.decoder.blocks[0](F.one_hot(codes, 32).permute(0, 3, 1, 2).float())
    chosen = centres[codes].permute(0, 3, 1, 2)
    assert torch.allclose(objective.tail(chosen), embedded, atol=1e-4)
    assert_equal(before, dict(objective.state_dict()))


@pytest.mark.parametrize("preset", [name for name, (_, whole) in PRESETS.items() if not whole.network.patches])
def test_auto_goes_by_the_budget(preset: str, tmp_path: Path) -> None:
    """Below the steps over which the paper's tau falls, and where there are no codes yet; in every preset that may."""
    whole = PRESETS[preset][1]
    assert "auto" == whole.head_start
    assert 150_000 == SMALL_BUDGET == RelaxationOptions().tau_steps
    for steps, init_from, expected in (
        (1, None, "always"),
        (149_999, None, "always"),
        (150_000, None, "never"),
        (3_000_000, None, "never"),
        (1, tmp_path / "weights", "never"),
    ):
        asked = replace(with_loop(whole, steps=steps), init_from=init_from)
        assert expected == asked.decided().head_start
        assert "never" == replace(asked, head_start="never").decided().head_start
    assert "always" == with_loop(replace(whole, head_start="always"), steps=3_000_000).decided().head_start
    assert "never" == TrainDVAEOptions().head_start, "the paper's figures are the defaults"


def test_mistakes_are_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2, and nothing written."""
    for flags, message in (
        (["--head_start", "sometimes"], "--head_start sometimes: expected always, auto or never"),
        (["--head_start_steps", "0"], "--head_start_steps 0: expected 1 or more"),
        (["--head_start_steps", "many"], "expected a whole number"),
        (
            ["--head_start", "always", "--init_from", "x"],
            "--head_start always: the weights of --init_from x have codes",
        ),
    ):
        code = train_tiny(tmp_path / "x", *flags)
        assert 2 == code, flags
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_two_processes_train_as_one(photographs: Path, tmp_path: Path) -> None:
    """torchrun with two gloo processes, in the head start and after it: the same losses up to rounding."""
    words = ["tiny", "--images", photographs, "--device", "cpu", *SMALL, "--batch_size", 4, "--micro_batch_size", 1]
    words += ["--steps", 8, "--head_start_steps", 4, "--log_every", 2, "--eval_every", 0, "--precision", "float32"]
    words += ["--full_precision_codes", "--output_folder"]
    command = [*(sys.executable, "-m", "torch.distributed.run"), *("--nproc_per_node", "2", "--master_port", "0")]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "dalle.train_dvae"]
    command += [*map(str, words), str(tmp_path / "two")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert 0 == done.returncode, done.stderr
    assert 0 == train_dvae_main(words, tmp_path / "one")
    two, one = log_lines(tmp_path / "two"), log_lines(tmp_path / "one")
    assert [2, 4, 6, 8] == [line["step"] for line in one]
    for line, expected in zip(two, one, strict=True):
        assert expected == pytest.approx(line, rel=2e-3, abs=2e-4)
