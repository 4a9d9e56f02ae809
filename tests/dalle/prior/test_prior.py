"""The transformer over text and image tokens: what it sees, what it learns, and what its training says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch.nn import functional as F

from dalle import train_prior
from dalle.prior.config import PriorConfig
from dalle.prior.losses import weighted
from dalle.prior.network import Prior
from dalle.training.logs import read_log
from tests.examples import WORDS, write_dataset

CONFIG = PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=2, heads=2, head_size=8)
TEXT, CODES = CONFIG.text_length, CONFIG.codes


@pytest.fixture
def prior() -> Prior:
    torch.manual_seed(0)
    return Prior(CONFIG)


def some_tokens(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of 1, 2, ... tokens and their padding; codes."""
    rng = torch.Generator().manual_seed(1)
    text = torch.randint(0, 20, (batch, TEXT), generator=rng)
    position, length = torch.arange(TEXT), torch.arange(1, batch + 1)[:, None]
    return torch.where(position < length, text, 20 + position), torch.randint(0, 30, (batch, CODES), generator=rng)


def test_shapes_and_the_papers_size(prior: Prior) -> None:
    """Logits of every token; the defaults are the 12 billion weights of the paper."""
    text, codes = prior(*some_tokens())
    assert ((3, TEXT, 20), (3, CODES, 30)) == (tuple(text.shape), tuple(codes.shape))
    full = PriorConfig()
    assert (3968, 32, 16_384, 8_192, 256, 1_024) == (
        full.width, full.side, full.vocab_size, full.image_vocab_size, full.text_length, full.codes,
    )  # fmt: skip
    with torch.device("meta"):
        block = sum(p.numel() for p in Prior(PriorConfig(layers=1)).blocks.parameters())
    assert 12_092_178_432 == pytest.approx(full.layers * block, rel=1e-3)


@pytest.mark.parametrize("changed", range(TEXT + CODES))
def test_a_token_changes_nothing_before_it(prior: Prior, changed: int) -> None:
    """Logits up to and at the changed token stay, those of some later token do not."""
    text, codes = some_tokens(1)
    before = torch.cat([logits.flatten(0, 1).sum(1) for logits in prior(text, codes)])
    if changed < TEXT:
        text[0, changed] = (text[0, changed] + 1) % 20
    else:
        codes[0, changed - TEXT] = (codes[0, changed - TEXT] + 1) % 30
    after = torch.cat([logits.flatten(0, 1).sum(1) for logits in prior(text, codes)])
    assert torch.equal(before[: changed + 1], after[: changed + 1])
    later = before[changed + 1 :] != after[changed + 1 :]
    assert later.all() or changed == TEXT + CODES - 1


def test_gradients_reach_every_parameter(prior: Prior) -> None:
    weighted(*prior.losses(*some_tokens())).backward()
    assert not [name for name, p in prior.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_losses_are_cross_entropies_of_the_logits(prior: Prior) -> None:
    """Of text tokens without their padding, and of all codes; fresh weights only guess; the paper's weights of both."""
    text_tokens, image_codes = some_tokens()
    text, codes = prior.losses(text_tokens, image_codes)
    text_logits, code_logits = prior(text_tokens, image_codes)
    real = text_tokens < 20
    torch.testing.assert_close(text, F.cross_entropy(text_logits[real], text_tokens[real]))
    torch.testing.assert_close(codes, F.cross_entropy(code_logits.flatten(0, 1), image_codes.flatten()))
    assert (math.log(20), math.log(30)) == (
        pytest.approx(float(text.detach()), abs=0.1),
        pytest.approx(float(codes.detach()), abs=0.1),
    )
    assert 2.75 == float(weighted(torch.tensor(1.0), torch.tensor(3.0)))
    nothing = torch.arange(20, 20 + TEXT).expand(3, TEXT)
    assert 0 == float(prior.losses(nothing, image_codes)[0].detach())


def test_one_batch_can_be_learnt_by_heart(prior: Prior) -> None:
    """Codes follow from the text and the codes before them: in 80 updates little is left to guess."""
    tokens = some_tokens()
    optimiser = torch.optim.Adam(prior.parameters(), 2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        weighted(*prior.losses(*tokens)).backward()
        optimiser.step()
    text, codes = prior.losses(*tokens)
    assert float(codes.detach()) < 0.1
    assert float(text.detach()) < math.log(3)  # of three first tokens none is known better than by a guess


def test_other_sizes_are_refused(prior: Prior) -> None:
    text, codes = some_tokens()
    with pytest.raises(ValueError, match="text and codes have 6 and 15 positions, the network 6 and 16"):
        prior(text, codes[:, :-1])
    with pytest.raises(ValueError, match="codes is 15, expected a square number"):
        PriorConfig(codes=15)
    with pytest.raises(ValueError, match="heads is 0, expected 1 to 1,048,576"):
        PriorConfig(heads=0)


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
        assert "13 examples: 3 batches of 4, 1 left over" in printed
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
        (None, ("--batch_size", 99), "has 13 examples, expected at least the 99 of one batch"),
        (None, ("--steps", 9), "--steps 9: expected twice --log_every 5 or more"),
        (None, ("--heads", 0), "--heads 0: expected 1 or more"),
        (None, ("--device", "abacus"), "--device abacus: no training computes there"),
        (None, ("--input_folder", "nowhere"), "has no manifest.json, so it is not a finished dataset"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, lineage: list | None, more: tuple, message: str
) -> None:
    """Exit code 2, one sentence, nothing left behind."""
    folder = write_dataset(tmp_path / "examples", (9, 4), **({} if lineage is None else {"lineage": lineage}))
    try:
        code: object = train_prior.main(flags(folder, tmp_path / "prior", *more))
    except SystemExit as exit_:
        code = exit_.code
    assert 2 == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "prior").exists()
    if lineage == []:
        assert 0 == train_prior.main(
            flags(folder, tmp_path / "prior", "--allow_undeduplicated", "--learning_rate", 0.02, "--warmup_steps", 0)
        )


def test_another_trainings_checkpoints_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Such as a dVAE's, whose folder was named by mistake, or the examples themselves; told to overwrite or not."""
    folder = write_dataset(tmp_path / "examples", (9, 4))
    (tmp_path / "dvae").mkdir()
    path = tmp_path / "dvae/_recipe.json"
    path.write_text(json.dumps({"job": "train_dvae", "inputs": [], "options": {}}))
    for out, job in ((tmp_path / "dvae", "train_dvae"), (Path(folder), "made up")):
        for more in ((), ("--incremental_mode", "overwrite")):
            assert 2 == train_prior.main(flags(folder, out, *more))
            assert f"{out}: was made by the job {job}; give another --output_folder" in capsys.readouterr().err
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
