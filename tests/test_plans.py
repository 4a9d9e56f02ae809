"""`--plan --json` of every job: one object, nothing written, `done` exactly if there is nothing to do."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import pytest

from dalle import scenes
from dalle.training import planning as of_trainings
from pipelines.chain.sections import COMMANDS
from pipelines.running import planning as of_datasets
from schemas.commands.flag_mistakes import flags_of
from tests.test_mistakes import COMMANDS as TRIED

SIDE = ["--device", "cpu", "--log_every", "1"]
CHAIN: dict[str, list[str]] = {
    "ingest": ["--dataset", "folder", "--url_list", "web", "--output_folder", "pairs", "--number_sample_per_shard", "5"],
    "dedup": ["--input_folder", "pairs", "--reference", "held-out=held-out", "--detector", "phash", "--output_folder", "clean"],
    "vocab": ["--input_folder", "clean", "--output_folder", "vocab"],
    "train_dvae": [
        "tiny", "--input_folder", "clean", "--output_folder", "dvae", "--resolution", "32", "--batch_size", "4", "--steps", "2",
        "--vocab_size", "16", "--head_start_steps", "1", *SIDE,
    ],
    "encode": ["--input_folder", "clean", "--vocabulary", "vocab", "--dvae", "dvae", "--output_folder", "examples"],
    "audit": ["examples", "--input_folder", "clean", "--vocabulary", "vocab", "--dvae", "dvae", "--sample", "2"],
    "train_prior": [
        "tiny", "--input_folder", "examples", "--vocabulary", "vocab", "--output_folder", "prior", "--steps", "3", "--layers", "1",
        "--heads", "1", "--text_length", "16", *SIDE,
    ],
    "train_contrastive": [
        "tiny", "--input_folder", "clean", "--vocabulary", "vocab", "--output_folder", "contrastive", "--steps", "2",
        "--batch_size", "4", "--image_layers", "1", "--text_layers", "1", *SIDE,
    ],
    "train_detector": [
        "tiny", "--images", "web", "--output_folder", "detector", "--steps", "2", "--drawn", "4", "--batch_size", "4", *SIDE,
    ],
    "generate": [
        "a red star on sand", "a blue boat on the grass", "--prior", "prior", "--vocabulary", "vocab", "--dvae", "dvae", "--samples", "2", "--output_folder", "drawn",
    ],
    "train_judge": ["tiny", "--output_folder", "judge", "--steps", "2", "--batch_size", "4", *SIDE],
    "judge": ["--drawn", "all=drawn", "--judge", "judge", "--output_folder", "verdicts"],
    "evaluate": [
        "--samples", "drawn", "--reference", "web", "--features", "builtin", "--blur", "0", "--extrapolate", "False",
        "--output_folder", "judged",
    ],
}  # fmt: skip
"""Every job, in an order in which each finds what it reads."""
AGAIN = ("audit", "evaluate", "judge")
"""Those that look at their input each time, and so are never done."""
PROCESSES = ("ingest", "dedup", "encode", "audit")


def main(job: str, *words: str) -> int:
    alone = ["--processes_count", "1"] if job in PROCESSES else []
    return int(import_module(COMMANDS[job]).main([*CHAIN[job], *alone, *words]))


Plans = Callable[[str], dict[str, Any]]


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Plans:
    """Asks a job in an empty folder with a few pictures beside it; whatever is asked, nothing may be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", "/tmp")
    for module in (of_trainings, of_datasets):
        monkeypatch.setattr(module, "PATIENCE", 0.05)

    def ask(job: str) -> dict[str, Any]:
        before = tree(tmp_path)
        capfd.readouterr()
        assert 0 == main(job, "--plan", "--json"), capfd.readouterr().err
        out = capfd.readouterr().out
        assert before == tree(tmp_path), f"the plan of {job} wrote something"
        assert 1 == len(out.splitlines()), out
        said = dict(json.loads(out))
        assert job == said["job"]
        assert (said["hours"] is None) == bool(said["why_no_hours"]), said
        return said

    return ask


def draw_web(folder: Path, count: int, first: int = 0) -> None:
    """Drawn scenes with true captions beside them."""
    folder.mkdir()
    for number in range(first, first + count):
        scene = scenes.compose(number, 120, 120)
        cv2.imwrite(str(folder / f"{number}.jpg"), scenes.draw(scene)[..., ::-1])
        (folder / f"{number}.txt").write_text(scenes.describe(scene, 1)[0])


def tree(folder: Path) -> dict[str, Any]:
    """All files and folders, with their sizes and when they were changed."""
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_job_has_its_flags() -> None:
    """In the same words."""
    for tried in TRIED:
        if tried.module in COMMANDS.values():
            assert {"--plan", "--json", "--quiet"} <= {*flags_of(tried.options)}, tried.module
    assert {*CHAIN} == {*COMMANDS}


@pytest.mark.slow
def test_every_job_waits_for_what_is_missing(plan_of: Plans) -> None:
    """And says where it would write, so that a flow knows who comes after it."""
    for job, words in CHAIN.items():
        if job in ("ingest", "train_detector"):  # who read what no job leaves refuse it
            assert 2 == main(job, "--plan", "--json")
            continue
        said = plan_of(job)
        if job == "train_judge":  # which reads nothing
            assert ("to do", []) == (said["state"], said["reads"])
            continue
        missing = said["waits_for"]
        assert ("waits", None) == (said["state"], said["hours"]), said
        assert missing in said["reads"]
        assert missing.removesuffix("/samples.parquet") in " ".join(words)
        if "--output_folder" in words:
            assert words[words.index("--output_folder") + 1] == said["output"]


@pytest.mark.slow
def test_done_is_what_there_is_nothing_to_do_of(plan_of: Plans) -> None:
    """Before a job has run there is something to do; after it there is not, and the same command changes nothing."""
    draw_web(Path("web"), 14)
    draw_web(Path("held-out"), 2, first=1000)
    for job in CHAIN:
        before = plan_of(job)
        assert "to do" == before["state"], before
        assert before["hours"] is None or before["hours"] >= 0
        assert main(job, "--quiet") in (0, 1) if job == "train_prior" else 0 == main(job, "--quiet"), job
        after = plan_of(job)
        assert ("to do" if job in AGAIN else "done") == after["state"], after
        if job not in AGAIN:
            assert (0.0, after["all"]) == (after["hours"], after["done"] if after["all"] is not None else None)
            output = Path(after["output"])
            kept = contents(output)
            main(job)
            assert kept == contents(output), job


@pytest.mark.slow
def test_begun_goes_on_from_there(plan_of: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training with a checkpoint: its steps are told, and hours at the rate of its log; other steps are anew."""
    draw_web(Path("web"), 14)
    assert 0 == main("ingest")
    more = functools.partial(monkeypatch.setitem, CHAIN, "train_dvae")
    words = [*CHAIN["train_dvae"], "--allow_undeduplicated"]
    words[words.index("clean")] = "pairs"
    more(words)
    assert 0 == main("train_dvae")
    more([*words, "--steps", "6"])
    said = plan_of("train_dvae")
    assert ("goes on", 2, 6, "step") == (said["state"], said["done"], said["all"], said["unit"])
    assert said["hours"] > 0
    more([*words, "--incremental_mode", "overwrite"])
    assert "anew" == plan_of("train_dvae")["state"]
    Path("pairs/00001_stats.json").unlink()
    assert "anew" == plan_of("ingest")["state"]


@pytest.mark.parametrize("job", CHAIN)
def test_a_refusal_is_the_jobs_own_sentence(job: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Nothing on standard output, exit code 2."""
    for words in (["--no_such_flag", "3"], ["--json"]):
        assert 2 == import_module(COMMANDS[job]).main([*CHAIN[job], *words])
        printed = capfd.readouterr()
        assert "" == printed.out
        assert printed.err.startswith(f"{COMMANDS[job]}: ")
        assert 1 == len(printed.err.splitlines())
