"""Detectors through their one interface: what each must promise, and what is said when one cannot be had."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import open_clip
import pytest
import torch

from dalle.detectors import Embedder, embed_all, load_detector
from dalle.detectors.builtin import WEIGHTS, Builtin
from dalle.detectors.network import Detector, DetectorConfig, save
from dalle.pictures import drawn_textures
from dalle.pictures.edits import EDITS
from pipelines.stages.embed import embed

torch.set_num_threads(1)
trained = pytest.mark.skipif(
    not WEIGHTS.exists(), reason=f"the detector's weights are not in this tree: {WEIGHTS.name}"
)


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights, registered with open_clip and saved as anybody would save one."""
    folder = tmp_path_factory.mktemp("clip")
    settings = {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": {"context_length": 8, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1},
    }
    (folder / "tiny-for-tests.json").write_text(json.dumps(settings))
    open_clip.add_model_config(folder / "tiny-for-tests.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-for-tests").state_dict(), folder / "tiny.pt")
    return folder / "tiny.pt"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file with the inputs and outputs of SSCD's."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 32, 32), torch.nn.Flatten(), torch.nn.Linear(1600, 40))
    path = tmp_path_factory.mktemp("script") / "network.torchscript.pt"
    torch.jit.save(torch.jit.script(network), path)
    return path


@pytest.fixture(scope="module", params=[pytest.param("builtin", marks=trained), "phash", "open_clip", "torchscript"])
def detector(request: pytest.FixtureRequest, clip_weights: Path, script: Path) -> Embedder:
    names = {"open_clip": f"open_clip:tiny-for-tests/{clip_weights}", "torchscript": f"torchscript:{script}"}
    return load_detector(names.get(request.param, request.param))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Eleven drawn pictures of different shapes."""
    squares = [drawn_textures.leaves(200, np.random.default_rng(index)) for index in range(11)]
    return [square[: 200 - 8 * index] for index, square in enumerate(squares)]


def test_vectors_have_unit_length(detector: Embedder, pictures: list[np.ndarray]) -> None:
    """[N, dimension] float32, so that an inner product is the cosine."""
    vectors = embed_all(detector, pictures)
    assert vectors.shape == (11, detector.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(11), abs=1e-5)


def test_vectors_do_not_depend_on_company_or_order(detector: Embedder, pictures: list[np.ndarray]) -> None:
    """The same bytes alone, backwards, and in the second batch."""
    vectors = embed_all(detector, pictures)
    assert np.array_equal(embed_all(detector, pictures[::-1])[::-1], vectors)
    assert np.array_equal(embed_all(detector, pictures[3:4])[0], vectors[3])
    many = [pictures[0]] * (detector.batch - 1) + pictures
    assert np.array_equal(embed_all(detector, many)[detector.batch - 1 :], vectors)


def test_no_pictures_give_no_vectors(detector: Embedder) -> None:
    """An empty shard is no special case."""
    assert embed_all(detector, []).shape == (0, detector.dimension)


class Faulty:
    """The classic hash, but for what it makes of one picture."""

    def __init__(self, value: float, shape: tuple[int, ...] = ()) -> None:
        self._phash, self._value, self._shape = load_detector("phash"), value, shape
        self.batch = 4

    def __getattr__(self, name: str) -> object:
        return getattr(self._phash, name)

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        vectors = self._phash.embed(prepared)
        vectors[prepared.max((1, 2)) == 255] *= np.float32(self._value)
        return vectors.reshape(self._shape) if self._shape else vectors


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 2, 1e30])
@pytest.mark.parametrize("number", [0, 3, 4, 10])
def test_a_detector_that_gives_no_unit_vector_is_told(value: float, number: int) -> None:
    """NaN, infinities, other lengths: detector and picture are named, in the first batch or the last."""
    pictures = [np.full((64, 64, 3), 255 if n == number else 100, np.uint8) for n in range(11)]
    expected = rf"^picture {number}: has a vector .*; expected unit length; take the picture out, or use .* phash-64-v1"
    with pytest.raises(ValueError, match=expected):
        embed_all(Faulty(value), pictures)
    encoded = [(f"p{n}", cv2.imencode(".png", pixels)[1].tobytes()) for n, pixels in enumerate(pictures)]
    with pytest.raises(ValueError, match=rf"^p{number}: has a vector"):
        embed(Faulty(value), encoded, ("whole", "mirror"))
    with pytest.raises(ValueError, match=r"gave vectors of shape \(64, 4\), expected \(4, 64\)"):
        embed_all(Faulty(1, (64, 4)), pictures)


def test_a_copy_is_closer_than_other_pictures(detector: Embedder, pictures: list[np.ndarray]) -> None:
    """Saved as a small JPEG, every picture is still nearest to itself."""
    saved = [EDITS["jpeg"].apply(EDITS["downscale"].apply(p, 0.7, _rng()), 60, _rng()) for p in pictures]
    alike = embed_all(detector, saved) @ embed_all(detector, pictures).T
    assert alike.argmax(1).tolist() == list(range(11))
    assert -1 <= detector.threshold <= 1


def test_a_fingerprint_is_short_and_names_the_kind(detector: Embedder) -> None:
    """It goes into manifests, so no path may be in it."""
    assert detector.fingerprint.split("-")[0] == detector.name.split(":")[0]
    assert "/" not in detector.fingerprint
    assert len(detector.fingerprint) < 80


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


# The built-in one


EASY = ["jpeg", "webp", "downscale", "upscale", "mild-crop", "grey", "blur", "brightness", "mirror", "text", "emoji"]


@pytest.mark.slow
@trained
@pytest.mark.parametrize("kind", EASY)
def test_builtin_knows_its_picture_after_any_common_edit(kind: str, pictures: list[np.ndarray]) -> None:
    """Nearest to it in every strength, and at the default threshold all but one (a drawn one without texture may fall
    short); every other picture stays below it."""
    detector = load_detector("builtin")
    originals = embed_all(detector, pictures)
    for strength in EDITS[kind].strengths:
        copies = embed_all(detector, [EDITS[kind].apply(p, strength, _rng()) for p in pictures])
        alike = copies @ originals.T
        assert list(range(11)) == alike.argmax(1).tolist()
        assert (np.diag(alike) >= detector.threshold).sum() >= 10
        assert alike[~np.eye(11, dtype=bool)].max() < detector.threshold


@trained
def test_builtin_is_at_most_16_megabytes() -> None:
    """It travels with the package."""
    assert WEIGHTS.stat().st_size <= 16 * 2**20


def test_fingerprints_of_other_weights_are_others(tmp_path: Path) -> None:
    """Vectors of two trainings are never mixed."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = DetectorConfig(side=32, widths=(16,), depths=(1,), neck=16, dimension=8)
        save(Detector(config), tmp_path / f"{seed}.safetensors")
    assert Builtin(tmp_path / "1.safetensors").fingerprint != Builtin(tmp_path / "2.safetensors").fingerprint


# open_clip


def test_open_clip_gives_the_vectors_of_open_clip(clip_weights: Path, pictures: list[np.ndarray]) -> None:
    """Against the library used directly, in full precision."""
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms("tiny-for-tests", pretrained=str(clip_weights))
    inputs = torch.stack([transform(Image.fromarray(pixels)) for pixels in pictures])
    with torch.inference_mode():
        expected = model.eval().encode_image(inputs, normalize=True).numpy()
    ours = embed_all(load_detector(f"open_clip:tiny-for-tests/{clip_weights}"), pictures)
    assert (ours * expected).sum(1).min() > 0.995  # bfloat16


# What is said when there is none


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip", "there is no detector 'clip'; it is one of builtin, open_clip:MODEL"),
        ("builtin:x", "there is no detector 'builtin:x'"),
        ("open_clip:", "there is no detector 'open_clip:'"),
        ("open_clip:ViT-B-33/x", "open_clip has no model 'ViT-B-33'"),
        ("open_clip:ViT-B-32/no/such/file.pt", "'no/such/file.pt' is neither a file of weights nor one of open_clip's"),
        ("torchscript:no/such/file.pt", "there is no such file; SSCD's are at"),
    ],
)
def test_a_detector_that_cannot_be_had_is_one_clear_sentence(name: str, message: str) -> None:
    """Which, what is wrong, what to do."""
    with pytest.raises(ValueError, match=message) as caught:
        load_detector(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["torchscript", "open_clip"])
def test_a_file_that_holds_no_weights_is_one_clear_sentence(kind: str, tmp_path: Path) -> None:
    """A truncated download, for example."""
    (tmp_path / "weights.pt").write_bytes(b"<html>404</html>")
    model = "ViT-B-32/" if kind == "open_clip" else ""
    with pytest.raises(ValueError, match=f"--detector {kind}:.*weights.pt: the ") as caught:
        load_detector(f"{kind}:{model}{tmp_path / 'weights.pt'}")
    assert "\n" not in str(caught.value)


def test_missing_builtin_weights_are_one_clear_sentence(tmp_path: Path) -> None:
    """A package built without its data."""
    with pytest.raises(ValueError, match=r"are missing; python -m dalle\.train_detector makes them"):
        Builtin(tmp_path / "none.safetensors")


def test_importing_the_module_loads_no_torch() -> None:
    """Nor does a detector that needs none."""
    program = (
        "import sys; from dalle.detectors import load_detector; load_detector('phash'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_phash_is_that_of_imagehash() -> None:
    """The bits that imagehash 4.3 gives for this picture."""
    rows, columns = np.mgrid[0:100, 0:140]
    pixels = np.stack([rows * 2, columns, (rows + columns) // 2], axis=2).astype(np.uint8)
    pixels = cv2.circle(pixels, (90, 40), 25, (250, 20, 60), -1)
    bits = embed_all(load_detector("phash"), [pixels])[0] > 0
    assert "".join("01"[int(bit)] for bit in bits) == PHASH


PHASH = "1000100100011011001001100110011001101101010011001011110101011001"
