"""Pictures of captions: the same in any order and after any interruption, what is kept, what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from dalle import generate
from dalle.drawing.captions import seed_of
from dalle.drawing.generator import Generator
from dalle.drawing.options import GenerateOptions
from dalle.prior.choosing import ChoosingOptions
from tests.dalle.contrastive.models import write_contrastive
from tests.dalle.drawing.models import write_models

CAPTIONS = ["a red kite", "a house by the sea", "two cats", "A red kite", "snow", "ein Boot 🛶", "<b>bold</b>"]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def run(prior: Path, out: Path, *more: object, code: int = 0) -> None:
    flags = ("--prior", prior, "--output_folder", out, "--samples", 5, "--batch_size", 4)
    assert code == generate.main([str(word) for word in (*more, *flags)])


def rows_of(out: Path) -> list[dict]:
    return pq.read_table(out / "samples.parquet").to_pylist()


def drawn(out: Path) -> dict[tuple[str, int], tuple]:
    """By caption and sample: seed, codes, likelihood, picture."""
    return {
        (row["caption"], row["sample"]): (
            row["seed"],
            tuple(row["codes"]),
            row["log_likelihood"],
            (out / row["file"]).read_bytes(),
        )
        for row in rows_of(out)
    }


def everything(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_same_pictures_in_any_order_and_number(prior: Path, tmp_path: Path) -> None:
    """Of a caption, whatever else is drawn with it; each sample another; the same again to the bit."""
    run(prior, tmp_path / "all", *CAPTIONS)
    whole = drawn(tmp_path / "all")
    assert len(whole) == 5 * len(CAPTIONS)
    assert len({codes for _, codes, _, _ in whole.values()}) > 4 * len(CAPTIONS)
    draw = random.Random(0)
    for number in range(3):
        some = draw.sample(CAPTIONS, draw.randint(1, len(CAPTIONS)))
        (tmp_path / f"{number}.txt").write_text("\n".join(some) + "\n")
        run(prior, tmp_path / str(number), "--captions_file", tmp_path / f"{number}.txt")
        ours = drawn(tmp_path / str(number))
        assert set(ours) == {(caption, sample) for caption in some for sample in range(5)}
        assert all(whole[key] == value for key, value in ours.items())
    run(prior, tmp_path / "again", *CAPTIONS)
    assert everything(tmp_path / "all") == everything(tmp_path / "again")


def test_more_samples_begin_with_the_same(prior: Path, tmp_path: Path) -> None:
    """So the best of 8 is chosen among the first of 64; repeated captions have others each."""
    run(prior, tmp_path / "five", "a red kite")
    run(prior, tmp_path / "nine", "a red kite", "--samples", 9)
    five, nine = drawn(tmp_path / "five"), drawn(tmp_path / "nine")
    assert all(nine[key] == value for key, value in five.items())
    run(prior, tmp_path / "twice", "a red kite", "snow", "a red kite")
    seeds = [row["seed"] for row in rows_of(tmp_path / "twice")]
    assert seeds == [
        seed_of(0, caption, sample) for caption, first in (("a red kite", 0), ("snow", 0), ("a red kite", 5))
        for sample in range(first, first + 5)
    ]  # fmt: skip


def test_what_lies_in_the_folder(prior: Path, tmp_path: Path) -> None:
    """Pictures as their codes decode, ranks by likelihood, ids of captions, only what is kept."""
    lines = [{"caption": caption, "id": number} for number, caption in enumerate(CAPTIONS, 100)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run(prior, tmp_path / "drawn", "--captions_file", tmp_path / "captions.jsonl", "--keep", 2)
    rows = rows_of(tmp_path / "drawn")
    assert [str(100 + i // 5) for i in range(len(rows))] == [row["caption_id"] for row in rows]
    generator = Generator.load(str(prior), samples=4)
    for first in range(0, len(rows), 5):
        some = rows[first : first + 5]
        by_likelihood = sorted(some, key=lambda row: -row["log_likelihood"])
        assert [row["rank"] for row in by_likelihood] == [0, 1, 2, 3, 4]
        assert [row["file"] is not None for row in by_likelihood] == [True, True, False, False, False]
        for row in by_likelihood[:2]:
            picture = cv2.imread(str(tmp_path / "drawn" / row["file"]))[:, :, ::-1]
            assert (32, 32, 3) == picture.shape
            assert (generator.decode(np.array([row["codes"]]))[0] == picture).all()
    files = {row["file"] for row in rows if row["file"]}
    assert files == {f"images/{path.name}" for path in (tmp_path / "drawn/images").iterdir()}
    manifest = json.loads((tmp_path / "drawn/manifest.json").read_text())
    assert {"samples.parquet", *files} <= set(manifest["files"])
    assert (1, 4) == tuple(manifest["options"][name] for name in ("captions_at_once", "samples_at_once"))


def test_from_python(prior: Path, tmp_path: Path) -> None:
    """The arrays are what the command leaves."""
    generator = Generator.load(str(prior), captions=1, samples=4)
    ours = generator.draw("snow", 5, seed=3)
    run(prior, tmp_path / "drawn", "snow", "--seed", 3)
    theirs = rows_of(tmp_path / "drawn")
    assert ours.seeds == [row["seed"] for row in theirs]
    assert ours.codes.tolist() == [row["codes"] for row in theirs]
    assert (5, 32, 32, 3) == ours.pictures.shape
    assert ours.scores is None
    greedy = generator.draw("snow", 2, options=ChoosingOptions(temperature=0))
    assert (greedy.codes[0] == greedy.codes[1]).all()


def test_part_of_a_picture_stays(prior: Path, tmp_path: Path) -> None:
    """Its codes are untouched, by rows and by a mask; without --image nothing stays."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    mask = np.random.default_rng(1).random((4, 4)) < 0.5
    cv2.imwrite(str(tmp_path / "mask.png"), np.kron(mask, np.ones((2, 2))).astype(np.uint8) * 255)
    run(prior, tmp_path / "rows", "snow", "--image", tmp_path / "photo.png", "--keep_rows", 3)
    run(prior, tmp_path / "masked", "snow", "--image", tmp_path / "photo.png", "--keep_mask", tmp_path / "mask.png")
    rows, masked = (np.array([row["codes"] for row in rows_of(tmp_path / name)]) for name in ("rows", "masked"))
    stays = rows[0][:12]
    assert (rows[:, :12] == stays).all()
    assert len({tuple(row[12:]) for row in rows.tolist()}) > 1
    whole = {tuple(row) for row in masked[:, mask.ravel()].tolist()}
    assert len(whole) == 1
    upper = mask.ravel()[:12]
    assert (masked[0][:12][upper] == stays[upper]).all()
    assert len({tuple(row) for row in masked.tolist()}) > 1
    run(prior, tmp_path / "half", "snow", "--image", tmp_path / "photo.png")
    half = np.array([row["codes"] for row in rows_of(tmp_path / "half")])
    assert (half[:, :4] == stays[:4]).all(), "15 of 32 rows are one of four"
    assert (half != half[0]).any(0)[4:8].any()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((5, 5), "is 5 x 5 pixels, expected 4 x 4, one for each code, or a multiple of that"),
        ((4, 8), "is 8 x 4 pixels, expected"),
        ((8, 8), "all codes of the picture are to stay, so there is nothing to draw; keep fewer"),
    ],
)
def test_masks_that_are_refused(
    prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture, size: tuple[int, int], message: str
) -> None:
    """Of another shape than the codes, or with nothing left to draw."""
    cv2.imwrite(str(tmp_path / "mask.png"), np.full(size, 255, np.uint8))
    run(prior, tmp_path / "out", "x", "--image", tmp_path / "mask.png", "--keep_mask", tmp_path / "mask.png", code=2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no caption is given"),
        (("",), "a caption is empty"),
        (("\u200b \n\u202e",), "a caption is empty"),
        (("caf\udce9",), "a caption is no text: bytes or escapes in it are no characters; give it in UTF-8"),
        (("word " * 3_000,), "tokens, the prior reads 16; shorten it"),
        (("x", "--samples", 0), "--samples 0: expected 1 or more"),
        (("x", "--keep", 9), "--keep 9: there are 5 --samples"),
        (("x", "--temperature", -1), "--temperature -1.0: expected 0 or more"),
        (("x", "--prior", "nowhere"), "--prior nowhere: is not there, expected a prior"),
        (("x", "--dvae", "builtin"), "was trained for the dvae"),
        (("x", "--captions_file", "nowhere.txt"), "nowhere.txt: No such file or directory"),
        (("x", "--image", "pyproject.toml"), "--image pyproject.toml: cannot be read as a picture"),
        (("x", "--image", "dalle"), "dalle: is a folder, expected a file"),
        (("x", "--image", "/dev/null"), "/dev/null: is a device, expected a file"),
        (("x", "--keep_mask", "mask.png"), "--keep_mask: there is no --image"),
        (("x", "--keep_rows", 3), "--keep_rows: there is no --image"),
        (("x", "--image", "a", "--keep_rows", 3, "--keep_mask", "b"), "both say what stays of --image; give one"),
        (("x", "--output_folder", "s3://bucket/drawn"), "--output_folder s3://bucket/drawn: is no local folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: tuple, message: str
) -> None:
    """Exit code 2, a sentence, nothing left behind."""
    flags = ["--prior", prior, "--output_folder", tmp_path / "drawn", "--samples", 5, *words]
    code = generate.main([str(word) for word in flags])
    assert 2 == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "drawn").exists()


def test_what_was_drawn_stays(prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Finished is finished; other options are refused, or overwrite; another's folder is left alone."""
    out = tmp_path / "drawn"
    run(prior, out, "snow", "rain")
    before = everything(out)
    run(prior, out, "snow", "rain")
    assert "is finished already, nothing to do" in capsys.readouterr().out
    for words, name in ((("snow",), "captions"), (("snow", "rain", "--seed", 1), "seed")):
        run(prior, out, *words, code=2)
        assert f"holds pictures that were drawn otherwise ({name}" in capsys.readouterr().err
    assert before == everything(out)
    for name in ("samples.parquet", "images/000001_0003.png"):
        (out / name).unlink()
        run(prior, out, "snow", "rain", code=2)
        assert f"{name}: is gone or was changed; --incremental_mode overwrite" in capsys.readouterr().err
    run(prior, out, "snow", "rain", "--incremental_mode", "overwrite")
    assert before == everything(out)
    run(prior, out, "snow", "--incremental_mode", "renew")
    assert "is finished" not in capsys.readouterr().out
    run(prior, out, "snow", "--incremental_mode", "renew")
    assert "is finished already" in capsys.readouterr().out
    assert {("snow", sample) for sample in range(5)} == set(drawn(out))
    assert 5 == len(list((out / "images").iterdir()))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    run(prior, tmp_path / "other", "snow", code=2)
    assert "holds 'mine.txt', which no job of ours made" in capsys.readouterr().err


def test_the_best_of_the_first_are_kept(prior: Path, tmp_path: Path) -> None:
    """Scores are those of one caption at a time; the figures are those of the table, and have their pictures."""
    reranker = write_contrastive(tmp_path / "reranker")
    run(prior, tmp_path / "out", *CAPTIONS, "--reranker", reranker, "--keep", 1, "--best_of", 1, 2, 5)
    generator = Generator.load(str(prior), reranker=str(reranker), samples=4)
    figures = json.loads((tmp_path / "out/best_of.json").read_text())
    scores = np.array([row["score"] for row in rows_of(tmp_path / "out")], np.float32).reshape(-1, 5)
    means = {row["n"]: row["score"] for row in figures["best_of"]}
    assert [1, 2, 5] == list(means)
    assert scores.mean() == pytest.approx(means[1])
    assert scores.max(1).mean() == pytest.approx(means[5])
    for number, caption in enumerate(CAPTIONS):
        rows = [row for row in rows_of(tmp_path / "out") if row["caption"] == caption]
        kept = {row["sample"] for row in rows if row["file"]}
        assert {0, int(scores[number, :2].argmax()), int(scores[number].argmax())} == kept
        assert sorted(range(5), key=lambda n: -scores[number, n]) == sorted(range(5), key=lambda n: rows[n]["rank"])
        ours = generator.draw(caption, 5)
        assert ours.scores is not None
        assert scores[number].tolist() == ours.scores.tolist()
    names = ("best_of.json", "best_of.png", "best_of_pictures.png")
    first = [(tmp_path / "out" / name).read_bytes() for name in names]
    run(prior, tmp_path / "again", *CAPTIONS, "--reranker", reranker, "--keep", 1, "--best_of", 1, 2, 5)
    assert first == [(tmp_path / "again" / name).read_bytes() for name in names]


def test_without_scores_there_is_no_best(prior: Path, tmp_path: Path) -> None:
    run(prior, tmp_path / "out", "snow")
    assert not (tmp_path / "out/best_of.json").exists()
    with pytest.raises(ValueError, match="--best_of: there is no --reranker"):
        GenerateOptions(best_of=(1,))
    with pytest.raises(ValueError, match="--best_of 20: there are 16 --samples; give as many or fewer"):
        GenerateOptions(best_of=(20, 1), reranker="clip")


def test_a_plan_waits_for_a_reranker_that_is_not_trained_yet(
    prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So a flow may train it before; who draws at once is told that it is not there."""
    reranker = tmp_path / "contrastive"
    run(prior, tmp_path / "out", "snow", "--reranker", reranker, "--plan", "--json")
    said = json.loads(capsys.readouterr().out)
    assert ("waits", str(reranker)) == (said["state"], said["waits_for"])
    assert str(reranker) in said["reads"]
    run(prior, tmp_path / "out", "snow", "--reranker", reranker, code=2)
    assert f"{reranker}: there is no such contrastive model" in capsys.readouterr().err
    write_contrastive(reranker)
    run(prior, tmp_path / "out", "snow", "--reranker", reranker, "--plan", "--json")
    said = json.loads(capsys.readouterr().out)
    assert ("to do", True) == (said["state"], str(reranker) in said["reads"])
