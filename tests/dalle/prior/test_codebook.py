"""Codes that begin where a dVAE has them: `train_prior --codebook`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dalle import train_prior
from dalle.dvae import load as load_dvae
from dalle.prior import Prior, PriorConfig
from dalle.prior.codebook import code_vectors
from schemas.folder import Folder
from schemas.manifest import read_manifest
from tests.dalle.drawing.models import write_models
from tests.folders import write_all

CONFIG = PriorConfig(vocab_size=10, image_vocab_size=24, text_length=4, codes=9, layers=1, heads=2, head_size=8)


def drawn(vectors: Tensor | None) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return Prior(CONFIG, code_vectors=vectors).state_dict()


def test_angles_between_codes_are_those_of_the_codebook() -> None:
    """A wide projection keeps angles around the mean, and the mean length is 1."""
    codebook = torch.randn(50, 12) * torch.logspace(0, -2, 12) + 5
    centred = codebook - codebook.mean(0)
    vectors = code_vectors(codebook, 20_000)
    ours, theirs = (F.normalize(each, dim=1) for each in (vectors, centred))
    assert torch.allclose(ours @ ours.T, theirs @ theirs.T, atol=0.06)
    assert vectors.norm(dim=1).mean() == pytest.approx(1, abs=0.02)


def test_nothing_else_that_is_drawn_changes() -> None:
    """Other weights, and what is drawn after them, are the same with and without it; and so are the vectors."""
    state = torch.get_rng_state()
    vectors = code_vectors(torch.randn(24, 5, generator=torch.Generator().manual_seed(0)), CONFIG.width)
    assert torch.equal(state, torch.get_rng_state())
    plain, begun = drawn(None), drawn(vectors)
    assert plain.keys() == begun.keys()
    for name, value in plain.items():
        added = vectors if name in ("embeddings.code.weight", "to_codes.weight") else 0
        assert torch.equal(begun[name], value + added), name


def test_weights_drawn_part_by_part_begin_there_too() -> None:
    """As processes that hold the weights together draw them: a network without memory, a tensor at a time."""
    vectors = code_vectors(torch.randn(24, 5), CONFIG.width)
    parts = []
    for each in (None, vectors):
        with torch.device("meta"):
            prior = Prior(CONFIG, code_vectors=each)
        torch.manual_seed(3)
        parts.append({name: torch.zeros(value.shape) for name, value in prior.named_parameters()})
        for name, whole in parts[-1].items():
            prior.draw(name, whole)
    for name, value in parts[0].items():
        added = vectors if name in ("embeddings.code.weight", "to_codes.weight") else 0
        assert torch.equal(parts[1][name], value + added), name


@pytest.mark.parametrize("codebook", [torch.ones(8, 3), torch.full((8, 3), torch.nan)])
def test_a_codebook_that_says_nothing(codebook: Tensor) -> None:
    with pytest.raises(ValueError, match="all codes of its codebook stand for the same"):
        code_vectors(codebook, 16)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*flags: str) -> int:
    given = [
        "--input_folder",
        "examples",
        "--output_folder",
        "out",
        "--device",
        "cpu",
        "--allow_undeduplicated",
        "--quiet",
    ]
    sizes = ["--layers", "1", "--heads", "1", "--text_length", "16", "--batch_size", "2", "--steps", "2"]
    return train_prior.main(["tiny", *given, *sizes, "--bpe_dropout", "0", "--log_every", "1", *flags])


def begun(folder: str) -> Tensor:
    from dalle.prior import load

    return load(f"{folder}/model.safetensors").to_codes.weight.detach()


def test_the_command(place: Path) -> None:
    """Two steps later the weights of the logits still lie where they began, and the manifest says how that was."""
    train("--codebook", "dvae", "--learning_rate", "1e-6", "--min_learning_rate", "1e-7", "--warmup_steps", "1")
    vectors = code_vectors(load_dvae(place / "dvae/model.safetensors").codebook().detach(), 32)
    assert (begun("out") - vectors).std() < 0.03 < 3 * vectors.std()
    assert read_manifest(Folder("out"))["options"]["codebook"] == "of the dVAE"


def test_another_dvae_is_refused(place: Path, capsys: pytest.CaptureFixture) -> None:
    write_models(place / "others", seed=1)
    assert 2 == train("--codebook", "others/dvae")
    assert "--codebook others/dvae: is not the dVAE that examples was made with" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_dvae_that_is_not_there(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert 2 == train("--codebook", "nowhere")
    assert "nowhere" in capsys.readouterr().err
