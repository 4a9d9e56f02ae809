"""The command: its numbers with everything named, mistakes in one sentence, killed and gone on to the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dalle.drawing.captions import captions_of
from dalle.drawing.options import GenerateOptions
from dalle.evaluation.statistics import Statistics, read_statistics, write_statistics
from dalle.flags import parse_options
from schemas.folder import Folder
from schemas.lock import only_run
from tests.conftest import Job, until, write_jpeg
from tests.dalle.evaluation.command import run, said
from tests.dalle.evaluation.inception_files import random_weights, write_weights
from tests.examples import write_image_folder, write_pictures

FAST = ["--features", "phash", "--extrapolate", "False", "--kid_subsets", "2"]
"""A detector without a network."""
BUILTIN = ["--features", "builtin", *FAST[2:]]


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Samples and references."""
    files = sorted(write_image_folder(tmp_path / "all", 24).iterdir())
    for name, part in (("drawn", slice(0, 12)), ("val", slice(12, 24))):
        (tmp_path / name).mkdir()
        for path in files[part]:
            path.rename(tmp_path / name / path.name)
    return tmp_path / "drawn", tmp_path / "val"


def test_everything_is_there_and_named(
    pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Radii, solid and dashed, a plot, statistics that a later run compares with; nothing is called FID."""
    drawn, val = pictures
    (tmp_path / "overlap-val.txt").write_text("12.png\n20.png\n")
    out = tmp_path / "out"
    flags = ["--samples", drawn, "--reference", val, "--blur", 0, 2, *FAST]
    assert 0 == run(*flags, "--without", tmp_path / "overlap-val.txt", "--output_folder", out, "--save_statistics")
    value, printed = said(out), capsys.readouterr().out
    assert [0.0, 2.0] == [one["blur"] for one in value["measured"]]
    for one in value["measured"]:
        assert [("all", 12), ("without the overlap", 10)] == [
            (each["references"], each["reference_pictures"]) for each in one["distances"]
        ]
        assert "phash" == one["choices"]["features"]
    assert "FID" not in json.dumps(value, ensure_ascii=False).replace("this is no FID", "")
    assert "FID" not in " ".join(printed.split()).replace("this is no FID", "")
    assert "phash" in printed
    assert "╌╌" in printed
    assert (out / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert [("samples", 12), ("reference", 12)] == [(one["name"], one["pictures"]) for one in value["inputs"]]
    assert any("12 samples are few" in warning for warning in value["warnings"])
    assert ["_features", "evaluation.json", "evaluation.png", "statistics"] == sorted(
        path.name for path in out.iterdir()
    )
    statistics = out / "statistics" / "reference-features-blur-2.npz"
    again = tmp_path / "again"
    assert 0 == run("--samples", drawn, "--reference", statistics, "--output_folder", again, *FAST)
    expected = value["measured"][1]["distances"][0]["value"]
    assert expected == pytest.approx(said(again)["measured"][0]["distances"][0]["value"], rel=1e-6)


def test_builtin_needs_no_weights(pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The detector that comes with the package; it is named wherever a number is."""
    flags = ["--samples", pictures[0], "--reference", pictures[1], "--blur", 0, *BUILTIN]
    assert 0 == run(*flags, "--output_folder", tmp_path / "out")
    (one,) = said(tmp_path / "out")["measured"]
    assert "Fréchet distance of builtin features" == one["metric"]
    assert one["choices"]["fingerprint"].startswith("builtin-v1-")
    assert "Fréchet distance of builtin features (builtin-v1-" in " ".join(capsys.readouterr().out.split())


def test_the_lineage_of_a_dataset(tmp_path: Path, pictures: tuple[Path, Path]) -> None:
    reference = write_pictures(tmp_path / "pairs", (3, 2))
    assert 0 == run("--samples", pictures[0], "--reference", reference, "--output_folder", tmp_path / "out", *FAST)
    assert ["dedup", "made up"] == [one["job"] for one in said(tmp_path / "out")["lineage"]]


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """By SIGKILL after features were kept; those are not computed again."""
    drawn = write_image_folder(tmp_path / "drawn", 320)
    flags = ["--samples", drawn, "--reference", drawn, "--blur", 1, *FAST]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    job = Job("dalle.evaluate", *flags, "--output_folder", killed)
    until(lambda: bool(list(killed.glob("_features/*/*.json"))) or job.process.poll() is not None)
    job.kill_all()
    assert not (killed / "evaluation.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("_features/*/*.npy")}
    assert kept
    assert 0 == run(*flags, "--output_folder", killed)
    assert 0 == run(*flags, "--output_folder", whole)
    for name in ("evaluation.json", "evaluation.png"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert not (killed / "_recipe.json").exists()


def one_picture(folder: Path) -> Path:
    folder.mkdir()
    write_jpeg(folder / "0.jpg", np.zeros((9, 9, 3), np.uint8))
    return folder


def test_mistakes_are_one_sentence(pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 2, and nothing is written."""
    drawn, val = pictures
    (tmp_path / "overlap.txt").write_text("nobody.png\n")
    (tmp_path / "weights.pth").write_bytes(b"other")
    rng = np.random.default_rng(0).standard_normal((9, 4))
    bare = Statistics(name="", mu=rng.mean(0), sigma=np.cov(rng, rowvar=False))
    write_statistics(Folder(tmp_path), "other.npz", bare)
    features = np.random.default_rng(0).standard_normal((9, 64))
    right = Statistics(name="", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    write_statistics(Folder(tmp_path), "right.npz", right)
    named = {"choices": {"scale": "features", "features": "builtin"}}
    write_statistics(Folder(tmp_path), "named.npz", Statistics(**{**vars(right), **named}))
    two = ["--samples", drawn, "--reference", val]
    known = ["--weights_sha256", write_weights(wide := tmp_path / "tf.pth", random_weights("tf"))]
    for flags, message in (
        ([*two], "needs the weights of Inception v3 (tf), and --weights names none; download https://github.com/"),
        ([*two, "--weights", tmp_path / "weights.pth"], "if these are the weights you want, say --weights_sha256"),
        ([*two, "--weights", tmp_path / "none.pth"], "none.pth: No such file or directory"),
        ([*two, "--weights", "x", *FAST], "--weights are of Inception, and --features names another network"),
        ([*two, "--features", "abacus"], "there is no detector 'abacus'"),
        ([*two, "--scale", "tf", "tf"], "--scale tf tf: expected tf, dmgan, or both, each once"),
        ([*two, "--resize", "pil"], "--resize"),
        ([*two, "--blur", -1], "--blur -1.0: expected 0 or more"),
        ([*two, "--without", tmp_path / "overlap.txt", *FAST], "1 of its 1 references are not among those given"),
        ([*two, "--without", tmp_path / "gone.txt", *FAST], "gone.txt: No such file or directory"),
        (
            ["--samples", drawn, "--reference", tmp_path / "right.npz", "--without", "x"],
            "holds statistics and no single",
        ),
        (
            ["--samples", drawn, "--reference", tmp_path / "other.npz", *FAST],
            "features of 4 numbers, and phash makes",
        ),
        (["--samples", drawn, "--reference", tmp_path / "named.npz", *FAST], "with features builtin, and phash is"),
        (
            ["--samples", drawn, "--reference", tmp_path / "right.npz", "--blur", 0, 1, *FAST],
            "holds no pictures that could be blurred with radius 1",
        ),
        (["--samples", one_picture(tmp_path / "one"), "--reference", val, *FAST], "has 1 picture "),
        (["--samples", tmp_path / "nothing", "--reference", val, *FAST], "nothing: is not there"),
        ([*two, *FAST, "--output_folder", drawn / "judged"], "lies in the input, --samples "),
        ([*two, *FAST, "--output_folder", val / "judged"], "lies in the input, --reference "),
        ([*two, "--output_folder", ""], "--output_folder is empty"),
        ([*two, *FAST[2:], "--weights", wide, "--device", "abacus", *known], "--device abacus: nothing computes there"),
        ([*two, *FAST[2:], "--weights", wide, "--splits", 13, *known], "12 pictures, fewer than the 13 splits"),
        (["--captions", "9" * 5000, "--captions_from", "x"], "expected a number such as 30000, or all"),
        (["--reference", val], "--samples is missing"),
        (["--samples", drawn, "--without", "x"], "--reference is missing"),
        (["--captions", 3], "give both"),
        ([*two, "--output_folder", "memory://out"], "is no local folder"),
        (["--captions", "some", "--captions_from", "x"], "--captions some: expected a number such as 30000, or all"),
    ):
        out = tmp_path / "out"
        assert 2 == run("--output_folder", out, *flags), flags
        error = capsys.readouterr().err
        assert message in error
        if error.startswith("dalle.evaluate: "):
            assert 1 == error.count("\n")
        assert not [path for path in out.rglob("*") if path.is_file()], flags


def test_the_paper_scale_counts_whole_batches(
    pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Fewer than 50 pictures are too few for it, which is said before anything is computed."""
    sha256 = write_weights(tmp_path / "google.pth", random_weights("torchvision"))
    weights = ["--weights", tmp_path / "google.pth", "--weights_sha256", sha256]
    flags = ["--samples", pictures[0], "--reference", pictures[1], "--scale", "dmgan", *weights]
    assert 2 == run(*flags, "--output_folder", tmp_path / "out")
    assert "the scale dmgan counts only whole batches of 50; give more, or --scale tf" in capsys.readouterr().err


def test_unreadable_pictures_are_counted_and_named(
    pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """They fail the command after all are seen, unless they are to be skipped, which every output says."""
    drawn, val = pictures
    (drawn / "bad.png").write_bytes(b"no picture")
    whole = (drawn / "00.png").read_bytes()
    (drawn / "cut.png").write_bytes(whole[: len(whole) // 2])
    flags = ["--samples", drawn, "--reference", val, "--output_folder", tmp_path / "out", "--blur", 0, *FAST]
    assert 1 == run(*flags)
    error = capsys.readouterr().err
    assert "2 pictures cannot be read (bad.png: " in error
    assert "cut.png: " in error
    assert "--unreadable skip judges the other 12" in error
    assert 2 == run(*flags, "--unreadable", "skip"), "another choice"
    assert 0 == run(*flags, "--unreadable", "skip", "--incremental_mode", "overwrite")
    assert ["bad.png", "cut.png"] == [one["id"] for one in said(tmp_path / "out")["inputs"][0]["unreadable"]]
    assert "2 of" in capsys.readouterr().out


def test_what_goes_wrong_after_it_began_is_no_mistake(
    pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 1, for something is written by then: a picture that a table names is not there."""
    drawn, val = pictures
    files = [path.name for path in sorted(drawn.iterdir())]
    pq.write_table(pa.table({"file": [*files, "gone.png"]}), drawn / "samples.parquet")
    flags = ["--samples", drawn, "--reference", val, "--output_folder", tmp_path / "out", "--blur", 0, *FAST]
    assert 1 == run(*flags)
    assert "gone.png: is not there, or no plain file; put it back, or draw it anew" in capsys.readouterr().err


def test_the_output_folder(pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In use, of somebody else, of another job, of another evaluation: refused; the same again is the same."""
    drawn, val = pictures
    flags = ["--samples", drawn, "--reference", val, "--blur", 0, *FAST]
    out = tmp_path / "out"
    assert 0 == run(*flags, "--output_folder", out)
    before = (out / "evaluation.json").read_bytes()
    assert 0 == run(*flags, "--output_folder", out)
    assert before == (out / "evaluation.json").read_bytes()
    capsys.readouterr()
    assert 2 == run(*flags, "--splits", 3, "--output_folder", out)
    assert "holds an evaluation with another splits; give another --output_folder, or" in capsys.readouterr().err
    assert before == (out / "evaluation.json").read_bytes()
    with only_run(Folder(tmp_path / "busy")):
        assert 2 == run(*flags, "--output_folder", tmp_path / "busy")
    assert "another run is at work in this folder" in capsys.readouterr().err
    assert 2 == run(*flags, "--output_folder", write_pictures(tmp_path / "pairs", (2,)))
    assert "was made by the job made up; give another --output_folder for evaluate" in capsys.readouterr().err
    assert 2 == run(*flags, "--output_folder", val)
    assert "is the input, which --reference names" in capsys.readouterr().err


def test_captions_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Drawn and written with their ids, for a generation, whose command is said."""
    annotations = [{"id": number, "image_id": 1, "caption": f"caption {number}"} for number in range(50)]
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": annotations}))
    out = tmp_path / "out"
    flags = ["--captions", 20, "--captions_from", tmp_path / "captions.json", "--seed", 3]
    assert 0 == run(*flags, "--output_folder", out)
    assert 20 == len((out / "captions.txt").read_text().splitlines()) == said(out)["captions"]
    _, _, command = capsys.readouterr().out.rpartition("python -m dalle.generate ")
    options = parse_options("dalle.generate", "", GenerateOptions, command.split())
    assert 20 == len(captions_of(options.captions, options.captions_file))
    first = (out / "captions.jsonl").read_bytes()
    shutil.rmtree(out)
    assert 0 == run(*flags, "--output_folder", out)
    assert first == (out / "captions.jsonl").read_bytes()


def test_statistics_of_ours_say_what_they_are_of(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    flags = ["--samples", pictures[0], "--reference", pictures[1], "--blur", 4, "--save_statistics", *FAST]
    assert 0 == run(*flags, "--output_folder", tmp_path / "out")
    read = read_statistics(str(tmp_path / "out" / "statistics" / "samples-features-blur-4.npz"))
    assert ("features", "phash", 4.0, 12) == (*(read.choices[n] for n in ("scale", "features", "blur")), read.count)
    assert torch.from_numpy(read.sigma).shape == (64, 64)
