"""A generator is judged: it draws the captions, into the output folder, and is then as good as its pictures."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dalle import generate
from tests.conftest import Job, until
from tests.dalle.contrastive.models import write_contrastive
from tests.dalle.drawing.models import write_models
from tests.dalle.evaluation.command import run, said
from tests.examples import write_scenes

FAST = ["--features", "phash", "--extrapolate", "False", "--blur", 0, "--samples_at_once", 8]
GENERATE = ["--batch_size", 8, "--keep", 1]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contrastive(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_scenes(tmp_path_factory.mktemp("data") / "pairs", (7, 5))


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's form; two of the texts are one."""
    texts = [f"a {colour} {what}" for colour in ("red", "green", "blue") for what in ("kite", "boat")] + ["a red kite"]
    path = tmp_path_factory.mktemp("data") / "captions.json"
    annotations = [{"id": 100 + n, "image_id": n, "caption": text} for n, text in enumerate(texts)]
    path.write_text(json.dumps({"annotations": annotations}))
    return path


def everything(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_generator_is_its_pictures(prior: Path, pairs: str, captions: Path, tmp_path: Path) -> None:
    """The same numbers as of what `dalle.generate` leaves for these captions; a text that stands twice has two."""
    out, drawn, beside = tmp_path / "out", tmp_path / "drawn", tmp_path / "beside"
    which = ["--captions", 7, "--captions_from", captions, "--seed", 5]
    assert 0 == run("--prior", prior, *which, "--reference", pairs, "--output_folder", out, *FAST)
    flags = ["--prior", prior, "--captions_file", out / "captions.jsonl", "--samples", 1, "--seed", 5, *GENERATE]
    assert 0 == generate.main([str(flag) for flag in (*flags, "--output_folder", drawn)])
    assert everything(drawn) == everything(out / "drawn")
    judged = ["--samples", drawn, "--seed", 5, "--reference", pairs, *FAST[:-2]]
    assert 0 == run(*judged, "--output_folder", beside)
    generator, samples = said(out), said(beside)
    assert samples["measured"] == generator["measured"]
    assert samples["lineage"] == generator["lineage"]
    assert ["generator", "samples"] == [one["inputs"][0]["kind"] for one in (generator, samples)]
    assert 7 == generator["inputs"][0]["pictures"]
    assert "generate" in [one["job"] for one in generator["lineage"]]
    assert [100 + n for n in range(7)] == [int(row["caption_id"]) for row in rows(out)]


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / "drawn" / "samples.parquet").to_pylist()


def test_the_best_of_several_is_judged(
    prior: Path, clip: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By the re-ranker, whose favour is said; judged by another model there is none."""
    which = ["--captions", "all", "--captions_from", captions, "--samples_per_caption", 5, "--reranker", clip]
    assert 0 == run("--prior", prior, *which, "--output_folder", tmp_path / "own", "--samples_at_once", 8)
    found = rows(tmp_path / "own")
    best = [row["score"] for row in found if row["rank"] == 0]
    assert (30, 6) == (len(found), len(best))
    value = said(tmp_path / "own")
    (match,) = value["caption_match"]["of"]
    assert sum(best) / 6 == pytest.approx(match["score"]["value"], rel=1e-6)
    assert any("were chosen by" in warning for warning in value["warnings"])
    assert "were chosen by" in " ".join(capsys.readouterr().out.split())
    other = write_contrastive(tmp_path / "other", seed=1)
    flags = [*which, "--match_by", other, "--samples_at_once", 8]
    assert 0 == run("--prior", prior, *flags, "--output_folder", tmp_path / "by_another")
    value = said(tmp_path / "by_another")
    assert str(other) == value["caption_match"]["by"]
    assert not [warning for warning in value["warnings"] if "were chosen by" in warning]
    assert found == rows(tmp_path / "by_another")


def test_what_is_drawn_stays(prior: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Judged in another way nothing is drawn again; another drawing is refused, or replaces it."""
    out = tmp_path / "out"
    which = ["--captions", 4, "--captions_from", captions, *FAST]
    assert 0 == run("--prior", prior, *which, "--output_folder", out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("drawn/**/*")}
    assert 0 == run("--prior", prior, *which, "--output_folder", out)
    assert 0 == run("--prior", prior, *which, "--splits", 2, "--output_folder", out, "--incremental_mode", "overwrite")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    numbers = (out / "evaluation.json").read_bytes()
    copy = tmp_path / "copy"  # under one name another prior
    shutil.copytree(prior.parent, copy)
    flags = ["--prior", copy / "prior", *which, "--output_folder", tmp_path / "moved"]
    assert 0 == run(*flags)
    shutil.rmtree(copy)
    write_models(copy, seed=1)
    pictures = everything(tmp_path / "moved" / "drawn")
    capsys.readouterr()
    assert 2 == run(*flags)
    assert "holds pictures that were drawn otherwise (dvae, prior); give another" in capsys.readouterr().err
    assert pictures == everything(tmp_path / "moved" / "drawn")
    assert (tmp_path / "moved" / "evaluation.json").exists()
    assert 0 == run(*flags, "--incremental_mode", "overwrite")
    assert pictures != everything(tmp_path / "moved" / "drawn")
    assert numbers == (out / "evaluation.json").read_bytes()


@pytest.mark.slow
def test_killed_while_it_draws_it_goes_on(prior: Path, tmp_path: Path) -> None:
    """To the same bytes; batches that were drawn are not drawn again."""
    (tmp_path / "captions.txt").write_text("".join(f"caption {n}\n" for n in range(40)))
    flags = ["--prior", prior, "--captions", "all", "--captions_from", tmp_path / "captions.txt", *FAST]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    job = Job("dalle.evaluate", *flags, "--output_folder", killed)
    until(lambda: bool(list(killed.glob("drawn/_next/**/*.parquet"))) or job.process.poll() is not None)
    job.kill_all()
    assert not (killed / "drawn" / "manifest.json").exists()
    kept = {path.name for path in killed.glob("drawn/_next/**/*.parquet")}
    assert kept
    assert 0 == run(*flags, "--output_folder", killed)
    assert 0 == run(*flags, "--output_folder", whole)
    for name in ("evaluation.json", "evaluation.png", "drawn/samples.parquet", "drawn/manifest.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_the_hint_is_a_command_that_works(
    prior: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What is printed draws the captions that were drawn, with their ids, and what it leaves can be judged."""
    out = tmp_path / "cap tions"
    which = ["--captions", 6, "--captions_from", captions]
    assert 0 == run(*which, "--output_folder", out)
    (command,) = re.findall(r"draw them: python -m dalle\.generate (.*)", capsys.readouterr().out)
    drawn = tmp_path / "drawn"
    more = ["--prior", prior, "--samples", 1, "--batch_size", 8, "--output_folder", drawn]
    assert 0 == generate.main([*shlex.split(command), *map(str, more)])
    ids = [json.loads(line)["id"] for line in (out / "captions.jsonl").read_text().splitlines()]
    assert ids == pq.read_table(drawn / "samples.parquet")["caption_id"].to_pylist()
    flags = [*FAST[:-2], "--samples", drawn, *which, "--output_folder", tmp_path / "judged"]
    assert 0 == run(*flags)
    assert 6 == said(tmp_path / "judged")["inputs"][0]["pictures"]


def test_mistakes_are_one_sentence(
    prior: Path, clip: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 2, and nothing is written."""
    other = write_models(tmp_path / "others", seed=1)
    (tmp_path / "long.txt").write_text("word " * 3_000 + "\nshort\n")
    (tmp_path / "empty.txt").write_text("a kite\n\nshort\n")
    which = ["--captions", 3, "--captions_from", captions]
    for flags, message in (
        (["--prior", prior], "draws pictures of --captions, and none are given; say how many, or all"),
        (["--prior", prior, "--samples", prior, *which], "are two things to judge; give one of them"),
        (
            ["--prior", tmp_path / "none", *which],
            "none: is not there, expected a prior; give the folder that dalle.train_prior",
        ),
        (["--prior", prior, "--dvae", other.parent / "dvae", *which], "was trained for the dvae"),
        (["--prior", prior, *which, "--samples_per_caption", 9], "nothing chooses the best of them; give a --reranker"),
        (["--prior", prior, *which, "--reranker", "none"], "there is no such contrastive model; expected open_clip:"),
        (["--prior", prior, "--captions", "all", "--captions_from", tmp_path / "long.txt"], "the prior reads 16"),
        (["--prior", prior, "--captions", "all", "--captions_from", tmp_path / "empty.txt"], "line 2 is empty"),
        (
            ["--prior", prior, "--captions", 1, "--captions_from", captions],
            "has 1 picture that can be read, expected 2 or more",
        ),
        (["--prior", prior, *which, "--temperature", -1], "--temperature -1.0: expected 0 or more"),
        ([*which, "--top_k", 3], "--prior is missing, and another flag says how it is to draw"),
        (["--samples", prior, "--reranker", clip, "--match_by", clip], "--reranker chooses of what --prior draws"),
    ):
        out = tmp_path / "out"
        assert 2 == run("--output_folder", out, *flags, *FAST[:-2]), flags
        error = capsys.readouterr().err
        assert message in " ".join(error.split())
        assert "Traceback" not in error
        if error.startswith("dalle.evaluate: "):
            assert 1 == error.count("\n")
        assert not [path for path in out.rglob("*") if path.is_file()], flags


def test_the_best_of_the_first(prior: Path, clip: Path, pairs: str, captions: Path, tmp_path: Path) -> None:
    """The best of all are the samples that are judged; the best of one are the first ones, whatever their scores."""
    out, first = tmp_path / "out", tmp_path / "first"
    which = ["--captions", 7, "--captions_from", captions, "--reference", pairs, *FAST]
    drawn = ["--prior", prior, "--reranker", clip, "--samples_per_caption", 4, "--best_of", 1, 4]
    assert 0 == run(*drawn, *which, "--output_folder", out)
    (measured,), best = said(out)["measured"], said(out)["best_of"]
    assert [1, 4] == [one["best_of"] for one in best]
    assert measured == {name: value for name, value in best[1].items() if name != "best_of"}
    first.mkdir()
    for row in rows(out):
        if row["sample"] == 0:
            shutil.copy(out / "drawn" / row["file"], first)
    judged = ["--reference", pairs, *FAST[:-2]]
    assert 0 == run("--samples", first, *judged, "--output_folder", tmp_path / "beside")
    assert said(tmp_path / "beside")["measured"][0]["distances"] == best[0]["distances"]
    assert best[0]["distances"] != best[1]["distances"]
    assert b"PNG" == (out / "best_of.png").read_bytes()[1:4]


def test_the_best_of_what_was_not_kept(
    prior: Path, clip: Path, pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or of what nobody knows to be the best."""
    flags = ["snow", "rain", "--prior", prior, "--reranker", clip, "--samples", 4, "--keep", 1, "--batch_size", 8]
    assert 0 == generate.main([str(flag) for flag in (*flags, "--output_folder", tmp_path / "drawn")])
    judged = ["--reference", pairs, *FAST[:-2], "--output_folder", tmp_path / "out"]
    assert 2 == run("--samples", tmp_path / "drawn", "--best_of", 1, 2, 3, *judged)
    assert re.search(
        r"of the first \d samples the best is not kept, of \d of 2 captions; draw with --best_of \d",
        capsys.readouterr().err,
    )
    assert 2 == run("--samples", tmp_path / "drawn/images", "--best_of", 1, *judged)
    assert "does not say which picture is which sample of its caption" in capsys.readouterr().err
