"""The built-in detector: its network, what it learns from, and how it learns."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dalle import dvae
from dalle.detectors import learning_pairs
from dalle.detectors.contrast import crowding, info_nce
from dalle.detectors.network import Detector, DetectorConfig, fold, load, normalise, save
from dalle.detectors.options import PRESETS, TrainDetectorOptions
from dalle.detectors.pair_batches import PairBatches
from dalle.detectors.run import DetectorRun
from dalle.detectors.thumbnails import thumbnail
from dalle.pictures import drawn_textures
from dalle.train_detector import main, train_detector
from dalle.training import checkpoint
from dalle.training.loop import seed_everything
from dalle.training.options import LoopOptions
from dalle.training.ranks import Ranks

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
def options(photos: Path, tmp_path: Path) -> TrainDetectorOptions:
    return TrainDetectorOptions(
        images=(photos,),
        drawn=8,
        loop=LoopOptions(
            output_folder=tmp_path / "detector", steps=6, batch_size=8, log_every=1, save_every=2, device="cpu"
        ),
        sides=(32,),
        side_steps=(),
        workers=0,
        network=TINY,
    )


def elsewhere(options: TrainDetectorOptions, folder: Path, **changes: object) -> TrainDetectorOptions:
    return replace(options, loop=replace(options.loop, output_folder=folder), **changes)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_takes_bytes_as_numbers_from_minus_one_to_one(dtype: torch.dtype) -> None:
    """Channels first in shape and last in memory, black -1, white 1."""
    pixels = torch.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3).mul(3).clamp(max=255).to(torch.uint8)
    inputs = normalise(pixels, dtype)
    assert inputs.dtype == dtype
    assert inputs.shape == (2, 3, 4, 4)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(inputs[1, 2, 3, 0], pixels[1, 3, 0, 2].to(dtype) / 127.5 - 1)
    assert (-1.0, 1.0) == (inputs.min().item(), inputs.max().item())


def test_what_is_no_detector_is_one_clear_sentence(tmp_path: Path) -> None:
    """Another file of weights, one cut short, one that is no safetensors file; and saving leaves nothing beside it."""
    path = tmp_path / "weights.safetensors"
    save(Detector(TINY), path)
    assert [path] == list(tmp_path.iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(
        ValueError, match=r"weights\.safetensors: is not a detector's network .*no whole file of safetensors: [^\n]+$"
    ):
        load(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"weights\.safetensors: is not a detector's network"):
        load(path)
    dvae.save(dvae.DVAE(dvae.DVAEConfig(vocab_size=8, encoder_n_hid=4, decoder_n_hid=4, n_init=4)), path)
    with pytest.raises(ValueError, match=r"weights\.safetensors: is not a detector's network [^\n]+$"):
        load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"weights\.safetensors: is not a detector's network .*config"):
        load(path)


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
    learning_pairs.batch(learning_pairs.read_pictures([photos], 32, 0, 0), 32, 16, (0, 0))
    assert sorted(seen) == list(range(16))


def test_a_batch_is_a_function_of_seed_and_step(photos: Path) -> None:
    """So training can go on after an interruption, with any number of workers."""
    pictures = learning_pairs.read_pictures([photos], 44, 4, 0)
    one, same, other = (learning_pairs.batch(pictures, 32, 6, (0, step)) for step in (5, 5, 6))
    assert one.shape == (2, 6, 32, 32, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_photographs_of_any_format_are_read_from_several_folders(photos: Path, tmp_path: Path) -> None:
    """With their subfolders, in the order of folders and names; every n-th is left out."""
    (tmp_path / "more" / "below").mkdir(parents=True)
    pixels = drawn_textures.leaves(32, np.random.default_rng(99))
    cv2.imwrite(str(tmp_path / "more" / "below" / "z.PNG"), pixels[..., ::-1])
    (tmp_path / "more" / "notes.txt").write_text("no picture")
    read = learning_pairs.read_pictures([photos, tmp_path / "more"], 32, 0, 0)
    assert 17 == len(read.photos)
    assert np.array_equal(pixels, read.photos[-1])
    kept = learning_pairs.read_pictures([photos, tmp_path / "more"], 32, 0, 0, hold_out_every=4)
    rest = [photo for index, photo in enumerate(read.photos) if index % 4]
    assert len(rest) == len(kept.photos)
    assert all(np.array_equal(*pair) for pair in zip(rest, kept.photos, strict=True))


def test_what_cannot_be_learnt_from_is_one_clear_sentence(photos: Path, tmp_path: Path) -> None:
    """A folder that is not there or has no pictures, a picture that is none, and nothing that is left."""
    with pytest.raises(ValueError, match="there are no photographs to learn from; --images names folders of them"):
        learning_pairs.read_pictures([], 32, 0, 0)
    with pytest.raises(ValueError, match=r"none: cannot be listed .* expected a folder of pictures"):
        learning_pairs.read_pictures([photos, tmp_path / "none"], 32, 0, 0)
    with pytest.raises(ValueError, match=f"{tmp_path}: has no pictures, expected files that end in"):
        learning_pairs.read_pictures([tmp_path], 32, 0, 0)
    with pytest.raises(
        ValueError, match="--hold_out_every 1 leaves no photograph to learn from; expected 0, or 2 and more"
    ):
        learning_pairs.read_pictures([photos], 32, 0, 0, hold_out_every=1)
    (tmp_path / "cut.jpg").write_bytes((photos / "00.jpg").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.jpg: cannot be decoded as a picture \([^\n]+$"):
        learning_pairs.read_pictures([photos, tmp_path], 32, 0, 0)


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


def test_a_short_run_lowers_the_loss(options: TrainDetectorOptions) -> None:
    """On the same batch again and again."""
    seed_everything(options.loop.seed)
    ranks = Ranks(rank=0, count=1, device=torch.device("cpu"))
    run = DetectorRun(options, ranks, PairBatches(options, []))
    views = torch.from_numpy(
        learning_pairs.batch(learning_pairs.read_pictures(options.images, 44, 8, 0), 32, 8, (0, 0))
    )
    losses = []
    for step in range(25):
        run.step(views, step)
        losses.append(run.figures(step + 1, 1.0)["contrast"])
    assert losses[-1] < 0.5 * losses[0]


def test_training_is_deterministic_and_resumes_to_the_same_weights(
    options: TrainDetectorOptions, tmp_path: Path
) -> None:
    """Whole, again with a worker, and interrupted after four of six steps: the same file."""
    worker = elsewhere(options, tmp_path / "worker", workers=1)
    for each in (options, worker):
        assert 0 == train_detector(each)
    resumed = elsewhere(options, tmp_path / "resumed")
    assert 0 == train_detector(replace(resumed, loop=replace(resumed.loop, steps=5)))
    (tmp_path / "resumed/checkpoints/00000005.safetensors").unlink()  # as if it was killed before it was written
    assert 0 == train_detector(resumed)
    whole = (tmp_path / "detector/model.safetensors").read_bytes()
    assert whole == (tmp_path / "worker/model.safetensors").read_bytes()
    assert whole == (tmp_path / "resumed/model.safetensors").read_bytes()


def test_training_goes_on_from_finished_weights(options: TrainDetectorOptions, tmp_path: Path) -> None:
    """Which were whitened at their end: what the network learns from begins without that."""
    assert 0 == train_detector(options)
    weights = tmp_path / "detector/model.safetensors"
    ranks = Ranks(rank=0, count=1, device=torch.device("cpu"))
    begun = DetectorRun(replace(options, init_from=weights), ranks, PairBatches(options, [])).model
    finished = load(weights)
    assert torch.equal(begun.whitening, torch.eye(24))
    assert not torch.equal(finished.whitening, torch.eye(24))
    assert torch.equal(begun.head.weight, finished.head.weight)


def test_other_photographs_are_refused(options: TrainDetectorOptions, photos: Path, tmp_path: Path) -> None:
    """A training goes on with the pictures it began with."""
    assert 0 == train_detector(replace(options, loop=replace(options.loop, steps=2)))
    with pytest.raises(ValueError, match=r"was made from images \(\w{12}\), now images \(\w{12}\) is given"):
        train_detector(replace(options, hold_out_every=3))
    assert checkpoint.latest(tmp_path / "detector/checkpoints") is not None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sides", "32", "--side_steps", "1"], "--sides has 1 values, --side_steps 1; give steps for each side but"),
        (["--sides", "32", "64", "--side_steps", "60"], "--side_steps are 60 in all, expected less than the 60 of"),
        (["--temperature", "0"], "--temperature 0.0: expected more than 0"),
        (["--learning_rate", "0.1"], "--images is missing; name folders of photographs to learn from"),
        (["--images", "nowhere"], "--images nowhere: is not there, expected a folder of pictures; give one"),
    ],
)
def test_bad_options_are_refused(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything starts."""
    code = main(["tiny", "--output_folder", str(tmp_path / "x"), *flags])
    assert 2 == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "x").exists()


def test_the_sides_follow_one_another() -> None:
    """The paper's way of spending steps where they are cheap."""
    small = PRESETS["small"][1]
    assert [64, 64, 96, 96, 128, 128] == [small.side_of(step) for step in (0, 3_999, 4_000, 5_999, 6_000, 6_999)]
