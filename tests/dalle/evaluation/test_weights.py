"""Weights are taken by their sha256 or by the user's word, from a path or an address, and nothing in them is executed."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dalle.evaluation.inception import EPSILON, FORMS, Inception, folded
from dalle.evaluation.inception_score import LastLayer
from dalle.evaluation.options import NetworkOptions
from dalle.evaluation.scales import birds, load_scales
from dalle.evaluation.weights import KNOWN, load_weights
from tests.dalle.evaluation.inception_files import random_weights, write_weights
from tests.server import Web


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("birds")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_file_is_refused_and_its_sha256_is_said(tmp_path: Path) -> None:
    """Before it is looked into; --weights_sha256 takes it, in capitals too."""
    path = tmp_path / "some.pth"
    path.write_bytes(b"not looked into")
    with pytest.raises(ValueError, match=r"expected one of 6726825d0af5… .* say --weights_sha256 ") as caught:
        load_weights(str(path))
    assert sha256_of(path) in str(caught.value)
    with pytest.raises(ValueError, match=r"nothing in it was executed"):
        load_weights(str(path), [sha256_of(path).upper()])


def test_the_known_files() -> None:
    """Their names hold the beginnings of their sha256, as torch's hub has it."""
    assert all(f"-{sha256[:8]}." in name for sha256, name in KNOWN.items())
    assert {64} == {len(sha256) for sha256 in KNOWN}


def test_every_way_to_write_them(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Today's layout of torch, the older one, without counters of batches, and safetensors: the same network."""
    torch.save(weights, tmp_path / "new.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({k: v for k, v in weights.items() if "tracked" not in k}, tmp_path / "few.pth")
    safetensors.torch.save_file(weights, tmp_path / "new.safetensors")
    read = [load_weights(str(path), [sha256_of(path)]) for path in sorted(tmp_path.iterdir())]
    assert 4 == len(read)
    states = [one.network.state_dict() for one in read]
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in states[0])
    assert {"birds"} == {one.form.name for one in read}
    assert all(one.name.startswith("sha256 ") for one in read)


def test_an_address(weights: dict[str, torch.Tensor], web: Web) -> None:
    sha256 = write_weights(web.folder / "birds.pth", weights)
    assert sha256 == load_weights(web.url("birds.pth"), [sha256]).sha256


def test_folding_changes_nothing(weights: dict[str, torch.Tensor]) -> None:
    """A convolution with its batch normalisation folded in is the one after the other."""
    with torch.device("meta"):
        network = Inception(FORMS["birds"])
    name = "Mixed_5b.branch3x3dbl_2"
    x = torch.randn(2, 64, 9, 9, generator=torch.Generator().manual_seed(0))
    part = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    expected = torch.nn.functional.batch_norm(
        torch.nn.functional.conv2d(x, part["conv.weight"], padding=1),
        part["bn.running_mean"], part["bn.running_var"], part["bn.weight"], part["bn.bias"], eps=EPSILON,
    )  # fmt: skip
    made = folded(weights, network)
    found = torch.nn.functional.conv2d(x, made[f"{name}.conv.weight"], made[f"{name}.conv.bias"], padding=1)
    assert torch.allclose(expected, found, atol=1e-5)


@pytest.mark.parametrize("classes", [51, 50])
def test_birds_have_fifty_classes(classes: int, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """The background comes first, where there is one, and does not count."""
    some = {**weights, "fc.weight": weights["fc.weight"][-classes:], "fc.bias": weights["fc.bias"][-classes:]}
    layer = birds(load_weights(str(tmp_path / "w.pth"), [write_weights(tmp_path / "w.pth", some)]))
    assert isinstance(layer, LastLayer)
    assert (weights["fc.weight"][-50:].numpy() == layer.weight).all()
    assert (64, (50,)) == (layer.whole_batches_of, layer.bias.shape)


def test_what_belongs_to_a_scale(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Its network, how pictures come to it, in which batches, and its scores; a form twice is refused."""
    files = {form: tmp_path / f"{form}.pth" for form in FORMS}
    sums = [write_weights(path, random_weights(form, counters=False)) for form, path in files.items()]
    paths = tuple(map(str, files.values()))
    options = NetworkOptions(scale=("tf", "dmgan"), weights=paths, weights_sha256=tuple(sums), resize="clean-fid")
    tf, dmgan = load_scales(options)
    assert ("FID", 130) == (tf.metric, tf.counted(130))
    assert ["without bias", "with bias"] == [score.layer.name for score in tf.scores]
    assert {2020} == {score.layer.shuffle_seed for score in tf.scores}
    assert tf.extractor.name.endswith("resized as clean-fid")
    assert ("FID (DM-GAN's scale)", 100) == (dmgan.metric, dmgan.counted(130))
    assert sums[1] == dmgan.choices["weights_sha256"]
    assert [("without bias", None, 1008), ("birds, 50 classes", 2020, 50)] == [
        (score.layer.name, score.layer.shuffle_seed, len(score.layer.weight)) for score in dmgan.scores
    ]
    extractors = [dmgan.extractor, *(score.extractor for score in dmgan.scores)]
    assert ["dm-gan", "imresize", "imresize-slim"] == [one.name.rpartition(" ")[2] for one in extractors]
    assert 4 == len({one.fingerprint for one in (tf.extractor, *extractors)})
    with pytest.raises(ValueError, match="is the second file of the form tf; give one of each"):
        load_scales(NetworkOptions(weights=(paths[0], paths[0]), weights_sha256=tuple(sums)))


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("executed").touch, ())


@pytest.mark.parametrize("protocol", [2, 4])
def test_no_pickle_is_executed(protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a plain one, nor one in torch's layouts."""
    monkeypatch.chdir(tmp_path)
    Path("plain.pth").write_bytes(pickle.dumps({"fc.weight": Bomb()}, protocol))
    torch.save({"fc.weight": Bomb()}, "zip.pth", pickle_protocol=protocol)
    torch.save({"fc.weight": Bomb()}, "old.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "zip.pth", "old.pth"):
        with pytest.raises(ValueError, match=rf"^{name}: .*nothing in it was executed"):
            load_weights(name, [sha256_of(Path(name))])
    assert not Path("executed").exists()


def test_a_program_is_refused(tmp_path: Path) -> None:
    """clean-fid's file is a TorchScript archive; its weights are those of pt_inception as well."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "inception-2015-12-05.pt"))
    path = tmp_path / "inception-2015-12-05.pt"
    with pytest.raises(ValueError, match="nothing in it was executed"):
        load_weights(str(path), [sha256_of(path)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.weight": None}, "it has no weights fc.weight"),
        ({"fc.weight": torch.zeros(10, 2048)}, "its last layer has 10 classes, expected 1008, 1000, 51 or 50"),
        ({"fc.weight": torch.zeros(51, 7)}, r"fc.weight are \[51, 7\], expected \[51, 2048\]"),
        ({"fc.weight": torch.tensor(1.0)}, "its last layer has 0 classes"),
        ({"Mixed_6b.branch7x7_2.conv.weight": torch.zeros(128, 128, 7, 1)}, r"are \[128, 128, 7, 1\], expected"),
        ({"Mixed_7a.branch3x3_1.bn.running_var": None}, "it has no weights Mixed_7a.branch3x3_1.bn.running_var"),
        ({"fc.bias": torch.full((51,), torch.nan)}, "hold NaN or infinity"),
        ({"note": "text"}, "other things than tensors"),
    ],
)
def test_other_networks_are_refused(
    change: dict, message: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """In one sentence that names the file and the first weights that are wrong."""
    changed = {name: value for name, value in {**weights, **change}.items() if value is not None}
    sha256 = write_weights(tmp_path / "w.pth", changed)
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(str(tmp_path / "w.pth"), [sha256])
    assert str(caught.value).startswith(f"{tmp_path}/w.pth: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 1000, -9])
def test_a_cut_file_is_refused(cut: int, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    few = {name: value for name, value in weights.items() if name.startswith(("fc", "Conv2d_1a"))}
    write_weights(tmp_path / "w.pth", few)
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:cut])
    with pytest.raises(ValueError, match="nothing in it was executed"):
        load_weights(str(tmp_path / "w.pth"), [sha256_of(tmp_path / "w.pth")])


@pytest.mark.parametrize("what", ["sparse", "complex", "meta", "quantized", "whole"])
def test_numbers_that_are_not_plain_are_refused(what: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Before anything is computed with them, and without a word of torch's."""
    made = {
        "sparse": lambda: torch.ones(2, 2).to_sparse(),
        "complex": lambda: torch.ones(2, dtype=torch.complex64),
        "meta": lambda: torch.ones(2, device="meta"),
        "whole": lambda: torch.ones(2, dtype=torch.int8),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    }
    torch.save({"fc.bias": made[what]()}, tmp_path / "odd.pth")
    recwarn.clear()
    with pytest.raises(ValueError, match=r"odd.pth: .*nothing in it was executed|odd.pth: holds other things"):
        load_weights(str(tmp_path / "odd.pth"), [sha256_of(tmp_path / "odd.pth")])
    assert not recwarn.list
