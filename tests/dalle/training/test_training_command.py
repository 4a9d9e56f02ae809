"""A training as a command: old flags, and mistakes in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from dalle import train_detector, train_dvae, train_prior
from dalle.training.command import RENAMED, check_renamed


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_flag_says_its_new_name(old: str) -> None:
    """With underscores or dashes, with its value in the next word or the same."""
    for word in (f"--{old}", f"--{old}=3", f"--{old.replace('_', '-')}"):
        with pytest.raises(ValueError, match=rf"^{word.partition('=')[0]} is called --{RENAMED[old]} now; use that$"):
            check_renamed(["tiny", word, "3"])
    check_renamed(["tiny", f"--{RENAMED[old]}", old])


@pytest.mark.parametrize(
    ("module", "preset"),
    [(train_dvae, "tiny"), (train_prior, "tiny"), (train_detector, "tiny")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_training_speaks_of_mistakes_alike(
    module: object, preset: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 2, one line, nothing left behind."""
    for flags, message in (
        (["--updates", "3"], "--updates is called --steps now; use that"),
        (["--steps", "0"], "--steps 0: expected 1 or more"),
        (["--learning_rate", "0"], "--learning_rate 0.0: expected more than 0"),
        (["--device", "abacus", "--images", "x"], "abacus"),
    ):
        out = tmp_path / "out"
        code = module.main([preset, "--output_folder", str(out), *flags])  # type: ignore[attr-defined]
        assert 2 == code, flags
        assert message in " ".join(capsys.readouterr().err.split()) or "--images" in flags
        assert not out.exists()
