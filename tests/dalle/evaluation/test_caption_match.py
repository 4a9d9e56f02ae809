"""How well pictures match their captions: the definition as a loop, what is kept on disk, who has captions at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle import contrastive
from dalle.contrastive.reranker import Reranker
from dalle.evaluation.caption_match import CaptionMatch, Captions, caption_match
from dalle.pictures.images import decode
from schemas.folder import Folder
from tests.dalle.contrastive.models import write_contrastive
from tests.dalle.evaluation.command import run, said
from tests.examples import write_image_folder, write_scenes


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contrastive(tmp_path_factory.mktemp("models") / "clip")


class Given(Captions):
    """Vectors that a test decides on."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def rows(self, texts: list[str]) -> Callable[[np.ndarray], np.ndarray]:  # type: ignore[override]
        return lambda numbers: np.stack([self.vectors[texts[number]] for number in numbers])


def key(text: str) -> str:
    return " ".join(text.lower().split())


def by_hand(pictures: np.ndarray, captions: list[str | None], vectors: dict[str, np.ndarray]) -> tuple[float, float]:
    """Score and recall among all texts that differ, of which there must be at most a hundred."""
    scores, found = [], []
    for picture, text in zip(pictures, captions, strict=True):
        if text is None:
            continue
        own = float(picture @ vectors[text])
        firsts: dict[str, str] = {}
        for each in captions:
            if each is not None:
                firsts.setdefault(key(each), each)
        others = [float(picture @ vectors[each]) for name, each in firsts.items() if name != key(text)]
        scores.append(own)
        found.append(0.0 if any(other > own for other in others) else 1 / (1 + sum(other == own for other in others)))
    return float(np.mean(scores)), float(np.mean(found))


@given(
    texts=st.lists(st.sampled_from(["a", "A", " a ", "b", "c", "d  e", "D e", None]), min_size=1, max_size=12),
    seed=st.integers(0, 2**64 - 1),
    levels=st.integers(1, 3),
)
def test_the_definition(texts: list[str | None], seed: int, levels: int) -> None:
    """Against a loop: equal texts are no wrong answers, ties are shared, pictures without a caption left out."""
    rng = np.random.default_rng(seed)
    known = [text for text in texts if text is not None]
    vectors = {text: rng.integers(0, levels, 3).astype(np.float32) for text in dict.fromkeys(known)}
    pictures = rng.integers(0, 3, (len(texts), 3)).astype(np.float32)
    if not known:
        with pytest.raises(ValueError, match=r"samples: not one of its \d+ pictures has a caption"):
            caption_match(pictures.__getitem__, texts, Given(vectors), side="samples", seed=seed)
        return
    match = caption_match(pictures.__getitem__, texts, Given(vectors), side="samples", seed=seed)
    score, recall = by_hand(pictures, texts, vectors)
    assert (pytest.approx(score), pytest.approx(recall)) == (match.score.value, match.recall.value)
    assert (len(known), len(texts) - len(known)) == (match.pictures, match.without_caption)
    assert len({key(text) for text in known}) == match.among


def test_among_a_hundred_of_many() -> None:
    """99 others are drawn for each by the seed: a blind model finds 1 of 100, and what misleads is met as often."""
    rng, count = np.random.default_rng(0), 500
    texts: list[str | None] = [f"caption {number}" for number in range(count)]

    def match(pictures: np.ndarray, words: np.ndarray, seed: int = 0) -> CaptionMatch:
        vectors = {str(text): word for text, word in zip(texts, words, strict=True)}
        return caption_match(pictures.__getitem__, texts, Given(vectors), side="samples", seed=seed)

    words, pictures = (rng.standard_normal((count, 8)).astype(np.float32) for _ in range(2))
    blind = match(pictures, words)
    assert 100 == blind.among
    assert abs(blind.recall.value - 0.01) < 4 * blind.recall.standard_error < 0.04
    assert pytest.approx(0.01) == match(pictures, np.ones_like(words)).recall.value
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    seeing = match(words, words)
    assert (1.0, 0.0) == (seeing.recall.value, seeing.recall.standard_error)
    assert pytest.approx(1.0) == seeing.score.value
    # a text that every picture is nearest to: in 99 of 499 cases it is among those that are drawn
    pictures = np.append(words, np.ones((count, 1), np.float32), 1)
    words = np.append(words, np.zeros((count, 1), np.float32), 1)
    words[7, 8] = 5
    found = match(pictures, words, seed=1).recall.value
    assert abs(found - (1 - 99 / 499)) < 0.06
    assert found == match(pictures, words, seed=1).recall.value != match(pictures, words, seed=2).recall.value


def test_captions_are_embedded_once(clip: Path, tmp_path: Path) -> None:
    """Kept on disk by their text; a damaged piece is made anew; the vectors are the model's."""
    texts = [f"caption {number}" for number in range(30)]
    reranker = contrastive.load(str(clip))
    expected = reranker.embed_captions(texts)

    class Deaf(Reranker):
        def __init__(self) -> None:
            self.name, self.fingerprint, self.dimension = reranker.name, reranker.fingerprint, reranker.dimension

    some = np.array([3, 29, 0])
    assert (expected[some] == Captions(reranker, Folder(tmp_path)).rows(texts)(some)).all()
    assert (expected[some] == Captions(Deaf(), Folder(tmp_path)).rows(texts)(some)).all()
    (piece,) = tmp_path.glob("*/*.npy")
    piece.write_bytes(piece.read_bytes()[:-1])
    assert (expected[some] == Captions(reranker, Folder(tmp_path)).rows(texts)(some)).all()


def samples(folder: Path, pictures: int, **columns: list) -> Path:
    write_image_folder(folder, pictures)
    files = [f"{number:02d}.png" for number in range(pictures)]
    pq.write_table(pa.table({"file": files, **columns}), folder / "samples.parquet")
    return folder


def test_both_sides(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Samples, and references that are pairs, in table and file, as the model scores them; without any weights."""
    drawn = samples(tmp_path / "drawn", 6, caption=["a kite", "A  kite", "a boat", "a tree", None, "a house"])
    pairs = write_scenes(tmp_path / "pairs", (4, 3), kind="png")
    flags = ["--samples", drawn, "--reranker", clip, "--features", "phash", "--blur", 0, "--extrapolate", "False"]
    assert 0 == run(*flags, "--reference", pairs, "--output_folder", tmp_path / "out")
    value, printed = said(tmp_path / "out"), capsys.readouterr().out
    match = value["caption_match"]
    reranker = contrastive.load(str(clip))
    assert (str(clip), reranker.fingerprint, 0) == (match["by"], match["fingerprint"], match["seed"])
    assert "99 other texts" in match["definition"]
    ours, theirs = match["of"]
    assert ("samples", 5, 1, 4) == (*(ours[name] for name in ("side", "pictures", "without_caption")), among(ours))
    assert ("reference", 7, 0) == tuple(theirs[name] for name in ("side", "pictures", "without_caption"))
    told = [(0, "a kite"), (1, "A  kite"), (2, "a boat"), (3, "a tree"), (5, "a house")]
    scores = [reranker.scores(text, [decode((drawn / f"{number:02d}.png").read_bytes())])[0] for number, text in told]
    assert pytest.approx(np.mean(scores), abs=1e-6) == ours["score"]["value"]
    assert re.search(r"samples +5 +-?0\.\d{4} ± 0\.\d{4} +\d+\.\d ± \d+\.\d % +4\n", printed)
    assert "caption match by " in printed
    assert "1 pictures of the samples have no caption to be matched with" in value["warnings"]
    assert any("was looked for among 4 and not 100" in warning for warning in value["warnings"])


def among(side: dict) -> int:
    return side["recall"]["among"]


def test_alone_without_references_or_weights(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The match is all that is asked: no Inception is needed, nothing is plotted, and it is the same again."""
    drawn = samples(tmp_path / "drawn", 5, caption=[f"caption {number}" for number in range(5)])
    out = tmp_path / "out"
    assert 0 == run("--samples", drawn, "--reranker", clip, "--output_folder", out)
    first = (out / "evaluation.json").read_bytes()
    assert [] == said(out)["measured"]
    assert ["_features", "evaluation.json"] == sorted(path.name for path in out.iterdir())
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("_features/*/*")}
    assert len(stamps) == 4, "a piece of pictures and one of captions"
    assert 0 == run("--samples", drawn, "--reranker", clip, "--output_folder", out)
    assert first == (out / "evaluation.json").read_bytes()
    assert stamps == {path: path.stat().st_mtime_ns for path in out.glob("_features/*/*")}
    reranker = contrastive.load(str(clip))
    scores = [
        reranker.scores(f"caption {number}", [decode((drawn / f"{number:02d}.png").read_bytes())])[0]
        for number in range(5)
    ]
    (match,) = said(out)["caption_match"]["of"]
    assert pytest.approx(np.mean(scores), abs=1e-6) == match["score"]["value"]
    assert pytest.approx(np.std(scores, ddof=1) / 5**0.5, rel=1e-4) == match["score"]["standard_error"]


def test_mistakes_are_one_sentence(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 2, and nothing is written."""
    folder = write_image_folder(tmp_path / "folder", 3)
    bare = samples(tmp_path / "bare", 3)
    for flags, message in (
        (["--samples", folder, "--reranker", clip], "has pictures without captions, so how well they match cannot be"),
        (["--samples", bare, "--reranker", clip], "has pictures without captions, so how well they match cannot be"),
        (["--samples", folder, "--match_by", tmp_path / "none"], "there is no such contrastive model; expected"),
        (["--reranker", clip], "--samples is missing"),
    ):
        assert 2 == run(*flags, "--output_folder", tmp_path / "out"), flags
        error = capsys.readouterr().err
        assert message in " ".join(error.split())
        assert "Traceback" not in error
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()], flags
