"""The training of a prior: what it learns from, what it leaves, how it goes on, what it says and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors
import safetensors.torch
import torch

from dalle import train_prior
from dalle.prior import Prior, PriorConfig
from dalle.prior.run import PriorRun
from dalle.prior.watching import Losses, Validation
from dalle.reading.batches import Batch
from dalle.training.logs import read_log
from tests.conftest import ROOT
from tests.examples import CODES, WORDS, example_rows, with_codes, write_dataset


def flags(folder: str, out: Path, *more: object) -> list[str]:
    sizes = ("--device", "cpu", "--heads", 1, "--head_size", 8, "--steps", 10, "--log_every", 5)
    return [str(flag) for flag in ("tiny", "--input_folder", folder, "--output_folder", out, *sizes, *more)]


def test_a_training_says_that_its_loss_falls(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A log of loss and parts, weights that name what they are for, the same again when begun anew."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    command = flags(folder, tmp_path / "prior", "--learning_rate", 0.02, "--warmup_steps", 0)
    weights = tmp_path / "prior/model.safetensors"
    contents = []
    for _ in range(2):
        assert 0 == train_prior.main([*command, "--incremental_mode", "overwrite"])
        printed = capsys.readouterr().out
        assert "10 examples: 2 batches of 4, 2 left over" in printed
        assert "held out: 3 examples; none that is trained on has the codes of one of them" in printed
        assert "the loss fell from" in printed
        lines = read_log(tmp_path / "prior")
        assert [5, 10] == [line["step"] for line in lines]
        assert lines[1]["loss"] < lines[0]["loss"]
        assert lines[1]["text"] / 8 + 7 / 8 * lines[1]["image"] == pytest.approx(lines[1]["loss"], rel=1e-4)
        contents.append(weights.read_bytes())
    assert contents[0] == contents[1]
    with safetensors.safe_open(weights, "pt") as file:
        model = json.loads(file.metadata()["model"])
    assert (WORDS.fingerprint, "d" * 64) == (model["vocabulary"], model["dvae"])
    assert model["lineage"] == json.loads((tmp_path / "prior/manifest.json").read_text())["lineage"]
    again = Prior(PriorConfig(**model["config"]))
    again.load_state_dict(safetensors.torch.load_file(weights))
    assert (512, 16) == (again.config.image_vocab_size, again.config.codes)


def test_it_goes_on_as_if_there_had_been_no_interruption(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """From a checkpoint in the middle of an epoch; what is finished stays as it is."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    more = ("--learning_rate", 0.02, "--warmup_steps", 0, "--save_every", 4, "--log_every", 2)
    assert 0 == train_prior.main(flags(folder, tmp_path / "whole", *more))
    for steps in (5, 8, 10):
        assert train_prior.main(flags(folder, tmp_path / "prior", *more, "--steps", steps)) in (0, 1)
    assert "goes on from" in capsys.readouterr().out
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "prior"))
    assert whole.read_bytes() == resumed.read_bytes()
    assert 0 == train_prior.main(flags(folder, tmp_path / "prior", *more))
    assert "is finished already, nothing to do" in capsys.readouterr().out


def test_a_loss_that_does_not_fall_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 1 and one sentence."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    assert 1 == train_prior.main(flags(folder, tmp_path / "prior", "--learning_rate", 30, "--warmup_steps", 100))
    message = capsys.readouterr().err
    assert 1 == len(message.splitlines())
    assert "the loss did not fall: " in message
    assert 1 == train_prior.main(flags(folder, tmp_path / "prior", "--learning_rate", 30, "--warmup_steps", 100))


@pytest.mark.parametrize(
    ("lineage", "more", "message"),
    [
        ([], (), "was never cleaned of near-duplicates"),
        (None, ("--batch_size", 99), "has 10 examples, expected at least the 99 of one batch"),
        (None, ("--heads", 0), "--heads 0: expected 1 or more"),
        (None, ("--heads", 2**20, "--head_size", 2**20), "expected at most 1,048,576 dimensions in all"),
        (None, ("--plateau_on", "validation"), "with --decay_steps 100 the learning rate falls along a cosine"),
        (None, ("--validation_share", 0, "--plateau_on", "validation"), "there are no evaluations to go by"),
        (None, ("--device", "abacus"), "--device abacus: nothing computes there"),
        (None, ("--input_folder", "nowhere"), "nowhere: is not there, so it is not a finished dataset"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, lineage: list | None, more: tuple, message: str
) -> None:
    """Exit code 2, one sentence, nothing left behind."""
    folder = write_dataset(tmp_path / "examples", (9, 4), **({} if lineage is None else {"lineage": lineage}))
    code = train_prior.main(flags(folder, tmp_path / "prior", *more))
    assert 2 == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "prior").exists()
    if lineage == []:
        assert 0 == train_prior.main(
            flags(folder, tmp_path / "prior", "--allow_undeduplicated", "--learning_rate", 0.02, "--warmup_steps", 0)
        )


def test_before_the_first_average_the_weights_themselves_are_left(tmp_path: Path) -> None:
    """Not the fresh ones, which are what the average is until then; also after going on."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    more = ("--learning_rate", 0.02, "--warmup_steps", 0, "--eval_every", 3)
    for name, every in (("average", 1), ("none", 11), ("decay", 1)):
        decay = ("--ema_decay", 0) if name == "decay" else ()
        assert 0 == train_prior.main(flags(folder, tmp_path / name, *more, *decay, "--ema_every", every))
    for steps in (4, 10):
        train_prior.main(flags(folder, tmp_path / "resumed", *more, "--ema_every", 11, "--steps", steps))
    average, none, own, resumed = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("average", "none", "decay", "resumed")
    )
    assert none == own == resumed != average


def test_a_network_for_which_there_is_not_enough_memory(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Which torch says in an error of its own: one sentence."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    assert 1 == train_prior.main(flags(folder, tmp_path / "prior", "--heads", 2**16, "--head_size", 16))
    message = capsys.readouterr().err
    assert "there is not enough memory" in message
    assert 1 == len(message.splitlines())


def test_a_plateau_needs_held_out_examples(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of three examples none can be held out, which is known only when they are read."""
    folder = write_dataset(tmp_path / "examples", (2, 1))
    more = ("--plateau_on", "validation", "--decay_steps", 0, "--batch_size", 2)
    assert 2 == train_prior.main(flags(folder, tmp_path / "prior", *more))
    assert "of the 3 examples" in capsys.readouterr().err
    assert not (tmp_path / "prior").exists()


def test_another_trainings_checkpoints_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Such as a dVAE's, whose folder was named by mistake, or the examples themselves; told to overwrite or not."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    (tmp_path / "dvae").mkdir()
    path = tmp_path / "dvae/_recipe.json"
    path.write_text(json.dumps({"job": "train_dvae", "inputs": [], "options": {}}))
    for out, why in (
        (tmp_path / "dvae", "was made by the job train_dvae"),
        (Path(folder), "is the input, which --input_folder names"),
    ):
        for more in ((), ("--incremental_mode", "overwrite")):
            assert 2 == train_prior.main(flags(folder, out, *more))
            assert f"{out}: {why}; give another --output_folder" in capsys.readouterr().err
    assert path.exists()


def test_no_arguments_take_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said with what it stands for; where the sample is not there, what makes it is named."""
    monkeypatch.chdir(tmp_path)
    assert 2 == train_prior.main([])
    assert "data/sample/examples: no folder given, and the sample's is not there" in capsys.readouterr().err
    write_dataset(tmp_path / "data/sample/examples", (9, 4))
    assert 0 == train_prior.main([])
    printed = capsys.readouterr().out
    assert "no arguments given: tiny --input_folder data/sample/examples --output_folder data/sample/prior" in printed
    assert (tmp_path / "data/sample/prior/log.jsonl").exists()


@pytest.mark.parametrize("how", ["plateaus of the training", "plateaus of the validation", "no examples held out"])
def test_it_goes_on_in_all_its_parts(how: str, tmp_path: Path) -> None:
    """Averages, plateaus, evaluations, tokens drawn anew, micro-batches: the same bits, with other workers too."""
    folder = write_dataset(tmp_path / "examples", (19, 14))
    more = ["--save_every", 1, "--log_every", 2, "--eval_every", 3, "--micro_batch_size", 3, "--ema_every", 2]
    more += ["--bpe_dropout", 0.5, "--decay_steps", 0, "--warmup_steps", 2, "--plateau_window", 2]
    more += ["--plateau_patience", 1, "--plateau_min_delta", 0.5, "--text_length", 20]
    more += {"plateaus of the training": [], "plateaus of the validation": ["--plateau_on", "validation"]}.get(
        how, ["--validation_share", 0]
    )
    assert 0 == train_prior.main(flags(folder, tmp_path / "whole", *more))
    for steps in (1, 3, 4, 8, 10):
        train_prior.main(flags(folder, tmp_path / "prior", *more, "--steps", steps, "--workers", steps % 2))
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "prior"))
    assert whole.read_bytes() == resumed.read_bytes()
    rates = [line["learning_rate"] for line in read_log(tmp_path / "whole") if "learning_rate" in line]
    assert rates[-1] <= rates[1] / 2, "the loss does not fall by a half, so the rate is halved"
    assert 1e-12 > min(abs(rates[-1] - 3e-3 / 2**n) for n in range(6))


@pytest.mark.parametrize("plateau_on", ["training", "validation"])
def test_stopped_in_an_evaluation(plateau_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are its own again, not the average; the evaluation is made up for, and all comes to the same."""
    folder = write_dataset(tmp_path / "examples", (19, 14))
    more = ("--log_every", 2, "--eval_every", 2, "--save_every", 100, "--decay_steps", 0, "--warmup_steps", 2)
    more += ("--plateau_on", plateau_on, "--plateau_min_delta", 0.9, "--plateau_patience", 1, "--ema_decay", 0.5)
    assert 0 == train_prior.main(flags(folder, tmp_path / "whole", *more))
    evaluate, asked = Validation.losses, list[signal.Signals]()

    def stop(self: Validation, prior: Prior, device: torch.device) -> Losses:
        losses = evaluate(self, prior, device)
        if len(asked) < 3:
            asked.append(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return losses

    monkeypatch.setattr(Validation, "losses", stop)
    for _ in range(3):
        assert 143 == train_prior.main(flags(folder, tmp_path / "stopped", *more))
    assert 0 == train_prior.main(flags(folder, tmp_path / "stopped", *more))
    whole, stopped = (tmp_path / name / "model.safetensors" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()
    names = ("step", "loss", "learning_rate", "validation_loss", "attention_entropy_row")
    logs = [[[line.get(name) for name in names] for line in read_log(each.parent)] for each in (whole, stopped)]
    assert logs[0] == logs[1]
    assert 5 == sum(line[3] is not None for line in logs[0])


@pytest.mark.parametrize(
    ("precision", "place"), [("float16", "backward"), ("float16_scaled", "backward"), ("float16_scaled", "forward")]
)
def test_an_overflow_before_a_checkpoint(
    precision: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is skipped and said; the checkpoint can be read, and what goes on from it is what was never interrupted."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    take = PriorRun.step

    def overflowing(self: PriorRun, batch: Batch, step: int) -> None:
        scale = torch.Tensor.backward
        factor = {"backward": 1e30, "forward": torch.inf}[place] if step in (3, 4) else 1.0
        if place == "forward":
            monkeypatch.setattr(
                self.prior, "losses", lambda *tokens: [factor * x for x in Prior.losses(self.prior, *tokens)]
            )
        else:
            monkeypatch.setattr(torch.Tensor, "backward", lambda loss: scale(factor * loss))
        take(self, batch, step)
        monkeypatch.setattr(torch.Tensor, "backward", scale)

    monkeypatch.setattr(PriorRun, "step", overflowing)
    more = ["--precision", precision, "--moments", "paper", "--recompute", "selective", "--save_every", 1]
    more += ["--log_every", 5, "--decay_steps", 0, "--plateau_window", 3, "--warmup_steps", 0, "--text_length", 4]
    more += ["--layers", 2]
    assert train_prior.main(flags(folder, tmp_path / "whole", *more)) in (0, 1)
    for steps in (5, 10):
        assert train_prior.main(flags(folder, tmp_path / "prior", *more, "--steps", steps)) in (0, 1)
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "prior"))
    assert whole.read_bytes() == resumed.read_bytes()
    line = read_log(tmp_path / "whole")[0]
    assert 0.4 == line["skipped_steps"]
    assert 7 > line["loss"] > 6
    expected = (
        {"loss_scale"}
        if precision == "float16"
        else {f"log2_gradient_scale/layers.{i}.{part}" for i in range(2) for part in ("attention", "mlp")}
    )
    assert expected == {name for name in line if "scale" in name}


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_a_batch_may_come_in_parts(micro: int, tmp_path: Path) -> None:
    """Losses are means over the whole batch, however many tokens a part has; so they do not depend on the parts."""
    folder = write_dataset(tmp_path / "examples", (30, 14))
    more = ("--batch_size", 8, "--precision", "float32", "--log_every", 1, "--steps", 3, "--bpe_dropout", 0)
    for name, size in (("parts", micro), ("whole", 8)):
        assert 0 == train_prior.main(flags(folder, tmp_path / name, *more, "--micro_batch_size", size))
    parts, whole = (read_log(tmp_path / name) for name in ("parts", "whole"))
    for name in ("loss", "text", "image", "grad_norm"):
        assert [line[name] for line in parts] == pytest.approx([line[name] for line in whole], rel=1e-4)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """torchrun with two gloo processes, gone on with by one: the same held out, the same losses but for rounding."""
    folder = write_dataset(tmp_path / "examples", (19, 14))
    more = ["--precision", "float32", "--micro_batch_size", 1, "--log_every", 1, "--eval_every", 2]
    more += ["--decay_steps", 0, "--plateau_on", "validation", "--warmup_steps", 1, "--plateau_min_delta", 0.9]
    more += ["--plateau_patience", 1, "--workers", 1]
    words = flags(folder, tmp_path / "two", *more, "--steps", 3)
    command = [*(sys.executable, "-m", "torch.distributed.run"), *("--nproc_per_node", "2", "--rdzv_backend", "c10d")]
    command += ["--rdzv_endpoint", "localhost:0", "-m", "dalle.train_prior", *words]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert [1, 2, 2, 3] == [line["step"] for line in read_log(tmp_path / "two")]
    for name in ("one", "two"):
        assert 0 == train_prior.main(flags(folder, tmp_path / name, *more, "--steps", 6))
    two, one = read_log(tmp_path / "two"), read_log(tmp_path / "one")
    assert 9 == len(one)
    for line, expected in zip(two, one, strict=True):
        named = [
            name
            for name in line
            if name in ("step", "loss", "text", "image", "grad_norm", "learning_rate") or "val" in name
        ]
        assert len(named) >= 4
        assert [expected[name] for name in named] == pytest.approx([line[name] for name in named], rel=2e-3)


def test_groups_that_drift_apart_are_said() -> None:
    """`test_machines_that_round_in_other_ways_are_noticed` has how it is found."""
    names = ("loss", "text", "image", "grad_norm", "learning_rate", "tokens_per_second", "share_of_product")
    figures = {**dict.fromkeys(names, 1.0), "share_of_communication": 0.25}
    said = [PriorRun.summary(None, some) for some in (figures, {**figures, "groups_differ": 1.0})]  # type: ignore[arg-type]
    assert said[0].endswith("25 % of the time in communication")
    assert said[0] + ", groups of processes round in other ways: their weights drift apart" == said[1]


def test_overfitting_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Where pictures are noise, and so can be learnt by heart only; beside it what simple models reach."""

    def noise(shard: int, count: int) -> pa.Table:
        codes = np.random.default_rng(shard).integers(0, 512, (count, 1, CODES))
        return with_codes(example_rows(shard, count), codes.tolist())

    folder = write_dataset(tmp_path / "examples", (12, 12), rows=noise)
    more = ("--steps", 240, "--log_every", 40, "--eval_every", 20, "--learning_rate", 0.01, "--bpe_dropout", 0)
    assert 0 == train_prior.main(flags(folder, tmp_path / "prior", *more, "--text_length", 16, "--head_size", 32))
    printed = capsys.readouterr().out
    assert "held out: 6 examples" in printed
    assert 12 == printed.count("held out: loss ")
    assert "over-fitting: the loss of the held-out examples was" in printed


def test_what_it_was_begun_with_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Other examples, another vocabulary, dVAE, grid, size or share held out: one sentence, and nothing is changed."""
    folder, other = write_dataset(tmp_path / "examples", (19, 14)), write_dataset(tmp_path / "other", (14, 19))
    dvae = write_dataset(tmp_path / "dvae", (19, 14), dvae="e" * 64)
    assert 0 == train_prior.main(flags(folder, tmp_path / "prior"))
    weights = (tmp_path / "prior/model.safetensors").read_bytes()
    for examples, more, message in (
        (other, (), "was made from examples"),
        (dvae, (), "and dvae (dddddddddddd), now"),
        (folder, ("--heads", 2), "was begun with a network of heads 1, now it is heads 2; give"),
        (folder, ("--text_length", 30), "was begun with a network of text_length 256, now it is text_length 30"),
        (folder, ("--validation_share", 0.3), "was begun with a validation share of 0.0024, now it is 0.3"),
        (folder, ("--seed", 3), "was begun with the seed 0, now it is 3"),
    ):
        assert 2 == train_prior.main(flags(examples, tmp_path / "prior", *more, "--steps", 20))
        message_of = capsys.readouterr().err
        assert message in message_of
        assert 1 == len(message_of.splitlines())
    assert weights == (tmp_path / "prior/model.safetensors").read_bytes()
