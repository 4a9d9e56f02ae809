"""The built-in detector: its network, what it learns from, and how it learns."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dalle.detectors import learning_pairs
from dalle.detectors.network import Detector, DetectorConfig, fold, load, save
from dalle.detectors.thumbnails import thumbnail
from dalle.pictures import drawn_textures
from dalle.train_detector import Run, TrainOptions, crowding, info_nce, train

torch.set_num_threads(1)  # the networks here are too small to be shared
TINY = DetectorConfig(side=32, widths=(16, 32), depths=(1, 1), neck=32, dimension=24)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sixteen drawn JPEGs in place of photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(16):
        pixels = drawn_textures.leaves(60, np.random.default_rng(index))
        cv2.imwrite(str(folder / f"{index:02d}.jpg"), pixels)
    return folder


@pytest.fixture
def options(photos: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(
        output=tmp_path / "detector.safetensors",
        train_photos=photos,
        drawn=8,
        sides=(32,),
        steps=(6,),
        batch=8,
        workers=0,
        network=TINY,
    )


# The network


def test_vectors_have_unit_length() -> None:
    """[B, 3, S, S] to [B, D]; other sides than the trained one work too."""
    model = Detector(TINY)
    for side in (32, 48, 64):
        vectors = model(torch.randn(5, 3, side, side))
        assert vectors.shape == (5, 24)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(5), atol=1e-6)


def test_gradients_reach_every_parameter() -> None:
    """Nothing is built that does not take part."""
    model = Detector(TINY)
    (model(torch.randn(4, 3, 32, 32)) @ torch.randn(24)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_picture_has_the_same_vector_in_any_company() -> None:
    """No statistics over the batch: copies in it cannot give each other away."""
    model = Detector(TINY)
    pictures = torch.randn(6, 3, 32, 32)
    torch.testing.assert_close(model(pictures)[2:3], model(pictures[2:3]), rtol=0, atol=1e-6)


def test_folding_changes_nothing_but_the_cost() -> None:
    """Plain convolutions with the standardised weights give the same vectors."""
    model = Detector(TINY)
    pictures = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(fold(model)(pictures), model(pictures))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Configuration and weights, the latter in half precision."""
    model = Detector(TINY)
    save(model, tmp_path / "weights.safetensors")
    again = load(tmp_path / "weights.safetensors")
    assert again.config == TINY
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float(), rtol=0, atol=0)


# Thumbnails


def photo(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize(("top", "side"), [(120, 0), (0, 90), (70, 150)])
def test_a_plain_border_is_cut_off(colour: tuple[int, int, int], top: int, side: int) -> None:
    """The thumbnail of a framed picture is nearly that of the picture."""
    pixels = photo(240, 320)
    framed = cv2.copyMakeBorder(pixels, top, top, side, side, cv2.BORDER_CONSTANT, value=colour)
    framed = cv2.imdecode(cv2.imencode(".jpg", framed, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    difference = np.abs(thumbnail(framed, 128).astype(int) - thumbnail(pixels, 128))
    assert difference.mean() < 10


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_is_left_as_it_is(level: int) -> None:
    """It is no border round nothing."""
    plain = np.full((90, 120, 3), level, np.uint8)
    assert np.array_equal(thumbnail(plain, 32), np.full((32, 32, 3), level, np.uint8))


def test_a_picture_without_a_border_is_only_squashed() -> None:
    """The whole of it is seen."""
    pixels = photo(240, 320)
    assert np.array_equal(thumbnail(pixels, 64), cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (700, 2)])
def test_any_size_has_a_thumbnail(height: int, width: int) -> None:
    """However narrow."""
    assert thumbnail(photo(height, width), 32).shape == (32, 32, 3)


# What it learns from


def test_drawn_pictures_are_the_same_for_everybody_and_different_from_one_another() -> None:
    """A function of side and generator."""
    for texture in set(drawn_textures.TEXTURES):
        one, same, other = (texture(48, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert one.shape == (48, 48, 3)
        assert one.dtype == np.uint8
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_no_photograph_is_twice_in_a_batch(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures of a batch count as different, so they must be."""
    seen: list[int] = []
    monkeypatch.setattr(learning_pairs, "pair", lambda pictures, photo, side, rng: seen.append(photo) or np.zeros(1))
    learning_pairs.batch(learning_pairs.read_pictures(photos, 32, 0, 0), 32, 16, (0, 0))
    assert sorted(seen) == list(range(16))


def test_a_batch_is_a_function_of_seed_and_step(photos: Path) -> None:
    """So training can go on after an interruption, with any number of workers."""
    pictures = learning_pairs.read_pictures(photos, 44, 4, 0)
    one, same, other = (learning_pairs.batch(pictures, 32, 6, (0, step)) for step in (5, 5, 6))
    assert one.shape == (2, 6, 32, 32, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_folder_without_photographs_is_one_clear_sentence(tmp_path: Path) -> None:
    """Where, what is wrong, what to do."""
    with pytest.raises(ValueError, match="holds no JPEG files; --train_photos names the folder"):
        learning_pairs.read_pictures(tmp_path, 32, 0, 0)


# How it learns


def test_info_nce_is_the_cross_entropy_over_all_other_views() -> None:
    """Against a loop."""
    first, second = torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=-1)
    views = torch.cat([first, second])
    expected = torch.zeros(10)
    for row in range(10):
        others = [column for column in range(10) if column != row]
        scores = torch.stack([views[row] @ views[column] / 0.1 for column in others])
        expected[row] = torch.logsumexp(scores, 0) - views[row] @ views[(row + 5) % 10] / 0.1
    torch.testing.assert_close(info_nce(first, second, 0.1), expected.mean())


def test_crowding_looks_at_the_nearest_other_picture() -> None:
    """Minus the log of the distance, never to a view of the same picture."""
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert crowding(first, first).item() == pytest.approx(-np.log(np.sqrt(2)), abs=1e-5)


def test_a_short_run_lowers_the_loss(options: TrainOptions) -> None:
    """On the same batch again and again."""
    run = Run(options)
    views = torch.from_numpy(
        learning_pairs.batch(learning_pairs.read_pictures(options.train_photos, 44, 8, 0), 32, 8, (0, 0))
    )
    losses = [run.learn(views)["contrast"] for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


def test_training_is_deterministic_and_resumes_to_the_same_weights(options: TrainOptions, tmp_path: Path) -> None:
    """Whole, again with a worker, and interrupted after four of six steps: the same file."""
    list(train(options))
    worker = replace(options, output=tmp_path / "worker.safetensors", workers=1)
    list(train(worker))
    resumed = replace(options, output=tmp_path / "resumed.safetensors")
    interrupted = train(resumed, every=1, store_every=2)
    for _ in range(5):
        next(interrupted)
    interrupted.close()
    assert resumed.output.with_suffix(".state").exists()
    list(train(resumed))
    assert not resumed.output.with_suffix(".state").exists()
    whole = options.output.read_bytes()
    assert whole == worker.output.read_bytes()
    assert whole == resumed.output.read_bytes()


def test_training_goes_on_from_finished_weights(options: TrainOptions, tmp_path: Path) -> None:
    """Which were whitened at their end: what the network learns from begins without that."""
    list(train(options))
    begun = Run(replace(options, output=tmp_path / "on.safetensors", start_from=options.output)).model
    finished = load(options.output)
    assert torch.equal(begun.whitening, torch.eye(24))
    assert not torch.equal(finished.whitening, torch.eye(24))
    assert torch.equal(begun.head.weight, finished.head.weight)


def test_a_side_without_steps_is_refused(tmp_path: Path) -> None:
    """Before anything starts."""
    with pytest.raises(ValueError, match="--sides has 1 values, --steps 2; give one for each"):
        TrainOptions(output=tmp_path / "x", sides=(32,), steps=(1, 2))
