"""The networks give the features of the peers' networks with the very same weights; so do whole evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalle import evaluate
from dalle.evaluation.inception import FORMS, Inception, folded
from dalle.evaluation.options import NetworkOptions
from dalle.evaluation.scales import InceptionFeatures, load_scales
from dalle.evaluation.weights import Weights, load_weights
from tests.dalle.evaluation.inception_files import picture_files, random_weights, write_weights

COUNT = 6


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The file that everybody uses, and its sha256."""
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    return path, write_weights(path, random_weights("tf"))


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of a dozen squares of photographs."""
    made = []
    for kind in ("coco_val2017", "flickr8k"):
        folder = tmp_path_factory.mktemp(kind)
        for path in picture_files(data, COUNT, [kind]):
            with Image.open(path) as image:
                image.convert("RGB").crop((40, 20, 200, 180)).save(folder / f"{path.stem}.png")
        made.append(folder)
    return made[0], made[1]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loaded(file: tuple[Path, str]) -> Weights:
    return load_weights(str(file[0]), [file[1]])


def some(folders: tuple[Path, Path], count: int = 2) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folders[0].iterdir())[:count]]


def features(weights: Weights, resize: str, pictures: list[np.ndarray]) -> np.ndarray:
    extractor = InceptionFeatures(weights, resize, batch=len(pictures))
    return extractor.embed(np.stack([extractor.preprocess(pixels) for pixels in pictures]))


def batch(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def from_pytorch_fid(path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """Its network, which it builds itself; only the download is ours."""
    peer = pytest.importorskip("pytorch_fid.inception", reason="pip install pytorch-fid")
    monkeypatch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: torch.load(path))
    return peer.InceptionV3([3]).eval()


def test_pytorch_fids_features(
    file: tuple[Path, str], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, pictures = from_pytorch_fid(file[0], monkeypatch), some(folders)
    with torch.no_grad():
        expected = network(batch(pictures).float() / 255)[0][..., 0, 0].numpy()
    found = features(loaded(file), "pytorch-fid", pictures)
    assert 0.05 < expected.std(0).mean(), "the pictures differ, so that this says something"
    assert np.abs(expected - found).max() < 1e-4


def test_torch_fidelitys_features_and_logits(file: tuple[Path, str], folders: tuple[Path, Path]) -> None:
    """Logits follow from features and the last layer."""
    peer = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="pip install torch-fidelity")
    names = ["2048", "logits_unbiased", "logits"]
    network = peer.FeatureExtractorInceptionV3("theirs", names, feature_extractor_weights_path=str(file[0]))
    pictures, weights = some(folders), loaded(file)
    with torch.no_grad():
        pool, unbiased, logits = (each.numpy() for each in network(batch(pictures)))
    found = features(weights, "torch-fidelity", pictures)
    assert np.abs(pool - found).max() < 1e-4
    options = NetworkOptions(weights=(str(file[0]),), weights_sha256=(file[1],), resize="torch-fidelity", device="cpu")
    layers = {score.layer.name: score.layer for score in load_scales(options)[0].scores}
    assert np.allclose(unbiased, layers["without bias"].logits(found), atol=1e-4)
    assert np.allclose(logits, layers["with bias"].logits(found), atol=1e-4)


def test_clean_fids_features(
    file: tuple[Path, str], folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own loading of a TorchScript file, which the test makes of the same weights."""
    peer = pytest.importorskip("cleanfid.inception_torchscript", reason="pip install clean-fid")
    utils = pytest.importorskip("cleanfid.utils")
    theirs = from_pytorch_fid(file[0], monkeypatch)

    class Scripted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*theirs.blocks)

    pictures = some(folders)
    example = torch.zeros(1, 3, 299, 299)
    scripted = Scripted().eval()
    scripted.layers = torch.jit.trace(scripted.layers, example, check_trace=False)
    torch.jit.script(scripted).save(str(tmp_path / "inception-2015-12-05.pt"))
    network = peer.InceptionV3W(str(tmp_path), download=False)
    paths = sorted(folders[0].iterdir())[:2]
    prepared = utils.ResizeDataset(paths, mode="clean")
    with torch.no_grad():
        expected = network(torch.stack([prepared[0], prepared[1]])).numpy()
    assert np.abs(expected - features(loaded(file), "clean-fid", pictures)).max() < 1e-4


def test_dm_gans_features(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    """torchvision's own network with its `transform_input`, given what DM-GAN's code gives it."""
    from torchvision import transforms
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False, transform_input=True)
    network.load_state_dict(random_weights("torchvision"), strict=False)
    sha256 = write_weights(tmp_path / "google.pth", network.state_dict())  # with the auxiliary classifier
    assert "AuxLogits.fc.weight" in torch.load(tmp_path / "google.pth")
    network.fc = torch.nn.Identity()
    pictures = some(folders)
    prepare = transforms.Compose([transforms.ToPILImage(), transforms.Resize((299, 299)), transforms.ToTensor()])
    with torch.no_grad():
        expected = network.eval()(torch.stack([prepare(pixels) for pixels in pictures])).numpy()
    found = features(load_weights(str(tmp_path / "google.pth"), [sha256]), "dm-gan", pictures)
    assert 1e-3 < expected.std(0).mean()
    assert np.abs(expected - found).max() < 1e-4


def test_the_forms_pool_differently() -> None:
    """The same convolutions in three forms give three sets of features."""
    x = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    weights, found = random_weights("tf"), {}
    for name, form in FORMS.items():
        network = Inception(form)
        network.load_state_dict(folded(weights, network))
        with torch.no_grad():
            found[name] = network(x).numpy()
    pairs = [("tf", "torchvision"), ("tf", "birds"), ("torchvision", "birds")]
    assert all(np.abs(found[one] - found[other]).max() > 1e-2 for one, other in pairs)


@pytest.mark.slow
def test_a_whole_evaluation_has_the_peers_numbers(
    file: tuple[Path, str], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """IS and KID of torch-fidelity's command; the distance by its features is that of `benchmarks/evaluation.py`, too."""
    peer = pytest.importorskip("torch_fidelity", reason="pip install torch-fidelity")
    expected = peer.calculate_metrics(
        input1=str(folders[0]), input2=str(folders[1]), cuda=False, isc=True, fid=False, kid=True, verbose=False,
        kid_subset_size=4, isc_splits=2, feature_extractor_weights_path=str(file[0]), batch_size=COUNT, cache=False,
    )  # fmt: skip
    found = evaluated(file, folders, tmp_path / "out", "torch-fidelity")
    score = found["inception_scores"]["without bias"]
    assert expected["inception_score_mean"] == pytest.approx(score["mean"], rel=1e-4)
    assert expected["inception_score_std"] == pytest.approx(score["std"], rel=1e-2, abs=1e-5)
    kernel = found["distances"][0]["kernel_distance"]
    assert expected["kernel_inception_distance_mean"] == pytest.approx(kernel["mean"], rel=1e-3)


@pytest.mark.slow
def test_a_whole_evaluation_has_pytorch_fids_number(
    file: tuple[Path, str], folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its features of the files; its root of a product of 2,048 rows, which takes a minute, is in the benchmark."""
    network = from_pytorch_fid(file[0], monkeypatch)
    peer = pytest.importorskip("pytorch_fid.fid_score")
    sides = [peer.get_activations(sorted(f.iterdir()), network, COUNT, num_workers=0) for f in folders]
    apart = sides[0].mean(0) - sides[1].mean(0)
    ours, theirs = ((side - side.mean(0)) / np.sqrt(COUNT - 1) for side in sides)
    singular = np.linalg.svd(ours @ theirs.T, compute_uv=False)
    expected = apart @ apart + (ours**2).sum() + (theirs**2).sum() - 2 * singular.sum()
    found = evaluated(file, folders, tmp_path / "out", "pytorch-fid")
    assert expected == pytest.approx(found["distances"][0]["value"], rel=1e-3)


def evaluated(weights: tuple[Path, str], folders: tuple[Path, Path], out: Path, resize: str) -> dict:
    """What the command finds."""
    flags = [
        "--samples", folders[0], "--reference", folders[1], "--output_folder", out, "--weights", weights[0],
        "--weights_sha256", weights[1], "--resize", resize, "--batch_size", COUNT, "--blur", 0, "--device", "cpu",
        "--kid_subset_size", 4, "--splits", 2, "--extrapolate", "False",
    ]  # fmt: skip
    assert 0 == evaluate.main([str(flag) for flag in flags])
    said = json.loads((out / "evaluation.json").read_text())
    choices = said["measured"][0]["choices"]
    assert (weights[1], False) == (choices["weights_sha256"], choices["weights_known"]), "every output names them"
    return said["measured"][0]
