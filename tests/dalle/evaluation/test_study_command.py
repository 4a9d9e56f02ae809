"""The study as a command: two generations to pages, workers' files to a table; mistakes in one sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dalle import study
from schemas.folder import Folder
from schemas.lock import only_run
from tests.examples import write_image_folder

COLOURS = ["red", "green", "blue", "grey"]
CAPTIONS = [f"a {colour} {what} number {n}" for n, (colour, what) in enumerate(
    (colour, what) for colour in COLOURS for what in ("kite", "boat", "tree")
)]  # fmt: skip


Says = dict[str, tuple[int, int | None]]
"""By caption the model that is more realistic, and the one that matches."""


def run(*flags: object) -> int:
    return study.main([str(flag) for flag in flags])


def samples(folder: Path, captions: list[str | None], grey: int) -> Path:
    """Two samples a caption, the second the better one."""
    folder.mkdir()
    rows = []
    for number, caption in enumerate(captions):
        for sample in range(2):
            cv2.imwrite(str(folder / f"{number}_{sample}.png"), np.full((16, 16, 3), grey + sample, np.uint8))
            rows.append({"caption": caption, "score": float(sample), "file": f"{number}_{sample}.png"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "samples.parquet")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Eleven captions in common, in another order."""
    return samples(tmp_path / "a", CAPTIONS[:11], 10), samples(tmp_path / "b", CAPTIONS[::-1], 100)


def asked(two: tuple[Path, Path], *flags: object) -> int:
    return run("ask", "--models", f"ours={two[0]}", f"theirs={two[1] / 'samples.parquet'}", "--seed", 99, *flags)


def answers(folder: Path, key: dict, worker: str, says: Says, *, careless: bool = False) -> None:
    """A worker's file for each page: the sides that are meant by what is said of the models."""
    folder.mkdir(exist_ok=True)
    for number, page in enumerate(key["pages"]):
        found = []
        for pair in page:
            side = {model: side for side, model in ((s, pair.get(s)) for s in ("left", "right"))}
            realistic, matches = says.get(pair["caption"], (0, 0))
            right = pair.get("check")
            found.append(
                {
                    "id": pair["id"],
                    "realistic": "left" if right else side[realistic],
                    "matches": ({"left": "right", "right": "left"}[right] if careless else right)
                    if right
                    else side.get(matches, "neither"),
                    "seconds": 9.0,
                }
            )
        value = {"format_version": 1, "study": key["study"], "page": number, "worker": worker, "answers": found}
        (folder / f"{worker}-{number}.json").write_text(json.dumps(value))


def test_from_samples_to_shares(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Asked about captions in common, answered by five who agree and one who is careless, counted as by hand."""
    out, sent = tmp_path / "study", tmp_path / "answers"
    assert 0 == asked(two, "--captions", 10, "--captions_per_page", 4, "--checks_per_page", 2, "--output_folder", out)
    printed = capsys.readouterr().out
    assert "captions: 10 on 3 pages" in printed
    assert "note: --seed" not in printed
    key = json.loads((out / "key.json").read_text())
    assert ["ours", "theirs"] == key["models"]
    assert 10 == len(set(key["captions"].values()) & set(CAPTIONS[:11]))
    assert ["key.json", "pages"] == sorted(path.name for path in out.iterdir())
    ids = list(key["captions"])
    votes = {name: (0 if number < 9 else 1, 0 if number < 7 else 1 if number < 9 else None) for number, name in enumerate(ids)}  # fmt: skip
    for worker in range(5):
        answers(sent, key, f"w{worker}", votes)
    answers(sent, key, "careless", votes, careless=True)
    (sent / "broken.json").write_text("{")
    assert 0 == run("count", "--study", out, "--answers", sent)
    printed = " ".join(capsys.readouterr().out.split())
    for line in (
        "more realistic ours 9 90.0 % 55.5 to 99.7 % theirs 1 10.0 % 0.3 to 44.5 % no majority 0 0.0 % 0.0 to 30.8 %",
        "matches the caption better ours 7 70.0 % 34.8 to 93.3 % theirs 2 20.0 % 2.5 to 55.6 % no majority 1 10.0 % ",
    ):
        assert line in printed
    assert "left out: worker careless: failed 6 of 6 checks, 25% are allowed" in printed
    assert "broken.json: is not JSON" in printed
    value = json.loads((out / "tally.json").read_text())
    assert (10, key["study"], 5) == (value["captions"], value["study"], value["options"]["votes"])
    assert 0.9 == value["questions"]["realistic"]["wins"]["ours"]["share"]
    before = (out / "tally.json").read_bytes()
    assert 0 == run("count", "--study", out, "--answers", *sorted(sent.glob("*.json"))[::-1])
    assert before == (out / "tally.json").read_bytes()


def test_names_are_no_markup(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of models and workers, whatever stands in them: they are printed as they are."""
    names, out = ["[/b]", "[red]x :boom:"], tmp_path / "study"
    models = [f"{name}={folder}" for name, folder in zip(names, two, strict=True)]
    assert 0 == run("ask", "--models", *models, "--captions", "all", "--seed", 99, "--output_folder", out)
    key = json.loads((out / "key.json").read_text())
    for number in range(5):
        answers(tmp_path / "answers", key, f"[/z]{number}".replace("/", "|"), {})
    assert 0 == run("count", "--study", out, "--answers", tmp_path / "answers")
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


def test_the_best_picture_is_shown(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Of each caption and model the one of the highest score, on the side that the key says."""
    assert 0 == asked(two, "--captions", "all", "--output_folder", tmp_path / "study")
    again = tmp_path / "again"
    assert 0 == asked(two, "--captions", "all", "--output_folder", again)
    page = (tmp_path / "study" / "pages" / "000.html").read_text()
    assert page == (again / "pages" / "000.html").read_text()
    assert "ours" not in page
    key = json.loads((again / "key.json").read_text())
    sides = Counter(pair["left"] for page in key["pages"] for pair in page if "check" not in pair)
    assert {5, 6} == set(sides.values())


def test_the_folder(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The same study again is finished; another one, a folder of others and one in use are refused; a rest is made."""
    out, flags = tmp_path / "study", ["--captions", 5, "--captions_per_page", 3]
    assert 0 == asked(two, *flags, "--output_folder", out)
    whole = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert 0 == asked(two, *flags, "--output_folder", out)
    assert "is finished already" in capsys.readouterr().out
    assert 2 == asked(two, "--captions", 6, "--output_folder", out)
    assert "holds another study, which may be running" in capsys.readouterr().err
    assert whole == {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "key.json").unlink()  # as a run leaves it that was killed
    (out / "_recipe.json").write_text(json.dumps({"job": "study", "inputs": [], "options": {}}))
    (out / "pages" / "007.html").write_text("of another number of pages")
    assert 0 == asked(two, *flags, "--output_folder", out)
    assert whole == {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    foreign = write_image_folder(tmp_path / "foreign", 1)
    assert 2 == asked(two, *flags, "--output_folder", foreign)
    assert "holds '00.png', which no job of ours made" in capsys.readouterr().err
    with only_run(Folder(tmp_path / "busy")):
        assert 2 == asked(two, *flags, "--output_folder", tmp_path / "busy")
    assert "another run is at work in this folder" in capsys.readouterr().err


def test_a_guessable_seed_is_said(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert 0 == asked(two, "--captions", 5, "--seed", 0, "--output_folder", tmp_path / "study")
    assert "--seed 0 is easily guessed" in capsys.readouterr().out


def test_mistakes_are_one_sentence(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 2, and nothing is written."""
    a, b = two
    folder = write_image_folder(tmp_path / "folder", 2)
    alike = samples(tmp_path / "alike", ["one", "ONE"], 3)
    out = tmp_path / "out"
    both = ["ask", "--models", f"a={a}", f"b={b}", "--output_folder", out]
    for flags, message in (
        (["ask", "--output_folder", out], "--models: names 0, expected two, such as dalle=drawn"),
        (["ask", "--models", "a", f"b={b}", "--output_folder", out], "--models a: expected NAME=SAMPLES"),
        (
            ["ask", "--models", f"a={a}", f"a={b}", "--captions", "all", "--output_folder", out],
            "give them names of their own",
        ),
        (["ask", "--models", f"a={a}", f"b={folder}", "--output_folder", out], "has pictures without captions"),
        (["ask", "--models", f"a={a}", f"b={tmp_path / 'none'}", "--output_folder", out], "none: is not there"),
        (["ask", "--models", f"a={a}", f"b={alike}", "--output_folder", out], "have 0 captions in common"),
        (["ask", "--models", f"a={a}", f"b={alike}", "--captions", "all", "--output_folder", out], "have 0 captions"),
        (both, "--captions 1000: the models have 11 captions in common; give at most as many, or all"),
        ([*both, "--captions", "none"], "--captions none: expected a number such as 1000, or all"),
        ([*both, "--captions", 1], "a check needs captions that differ"),
        ([*both, "--captions", 5, "--seed", -1], "--seed -1: expected 0 or more"),
        (["count", "--study", out, "--answers", "x"], "has no key.json; give the folder"),
    ):
        assert 2 == run(*flags), flags
        error = capsys.readouterr().err
        assert message in " ".join(error.split())
        assert "Traceback" not in error
        assert not [path for path in out.rglob("*") if path.is_file()], flags


def test_nothing_to_count(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """No file, files of another study: a sentence that says which, and no figures."""
    out, other = tmp_path / "study", tmp_path / "other"
    assert 0 == asked(two, "--captions", 5, "--output_folder", out)
    assert 0 == asked(two, "--captions", 6, "--output_folder", other)
    answers(tmp_path / "sent", json.loads((other / "key.json").read_text()), "w", {})
    (tmp_path / "none").mkdir()
    assert 2 == run("count", "--study", out)
    assert "--answers is missing; say where the files are" in capsys.readouterr().err
    for given, message in (
        (tmp_path / "sent", "no worker's file can be counted: "),
        (tmp_path / "none", "has no .json files"),
        (tmp_path / "gone", "is not there"),
    ):
        capsys.readouterr()
        assert 2 == run("count", "--study", out, "--answers", given)
        error = capsys.readouterr().err
        assert message in error
        assert 1 == error.count("\n")
    assert not (out / "tally.json").exists()


def test_a_picture_that_is_none_fails_it(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Once it has begun: exit code 1, no key; put right, the same command goes on."""
    broken = two[0] / "3_1.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"none")
    out = tmp_path / "study"
    assert 1 == asked(two, "--captions", "all", "--output_folder", out)
    assert "of ours: cannot be decoded" in capsys.readouterr().err
    assert not (out / "key.json").exists()
    broken.write_bytes(whole)
    assert 0 == asked(two, "--captions", "all", "--output_folder", out)
