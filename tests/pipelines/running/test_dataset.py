"""What surrounds every job: a decision that only reads, units done once, a manifest at last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.running.dataset import Made, Steps, make_dataset, output_folder
from pipelines.running.do_unit import Done, Note
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.finishing import JobFailed
from pipelines.running.output import Decision, IncrementalMode, begin, decide
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from schemas.folder import RECIPE, Folder, Staging
from schemas.manifest import MANIFEST, Counts, read_manifest
from tests.conftest import hashes

MADE_OF = Recipe(
    job="count", table="numbers", inputs=[{"name": "a", "sha256": "1" * 64}], cut={"by": 2}, options={}, versions={}
)


@dataclass(frozen=True)
class WriteNumber:
    """Each unit's file holds its number; what was done is written beside the folder; one unit may fail."""

    log: Path
    fails_at: str = ""

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """One line for each unit done."""
        if unit.shard == self.fails_at:
            raise ValueError("the unit is cursed")
        note(Counts.all_kept(1))
        with staging.file(f"{unit.shard}.parquet") as file:
            file.write(unit.shard.encode())
        with self.log.open("a") as log:
            log.write(f"{unit.shard}\n")
        return Done(Counts.all_kept(unit.rows))


def make(path: Path, recipe: Recipe, work: WriteNumber, mode: IncrementalMode = "incremental") -> Made:
    """Three units of two rows."""
    units = recipe.units([Unit(shard=f"{number:05d}", rows=2) for number in range(3)], ["x", "y", "z"])
    with output_folder(str(path)) as folder:
        step = Step(work=work, title="write numbers")

        def prepare(output: Folder, _: Decision) -> Steps:
            return Steps(units=units, do=lambda: do_units(output, units, step, Engine([], 1)))

        return make_dataset(folder, recipe, mode, prepare)


def test_a_decision_only_reads(tmp_path: Path) -> None:
    """Whatever lies there and whatever it comes to, the folder is as it was; `begin` is what writes."""
    folder = Folder(tmp_path)
    assert not decide(folder, MADE_OF, "incremental").anew
    assert {} == hashes(tmp_path)
    begin(folder, MADE_OF, decide(folder, MADE_OF, "incremental"))
    assert [RECIPE] == list(hashes(tmp_path))
    before = hashes(tmp_path)
    assert decide(folder, MADE_OF, "overwrite").anew
    assert decide(folder, MADE_OF, "incremental") == decide(folder, MADE_OF, "renew")
    assert decide(folder, replace(MADE_OF, inputs=[{"name": "b", "sha256": "2" * 64}]), "renew").anew
    assert decide(folder, replace(MADE_OF, options={"depth": 2}), "incremental").notice
    with pytest.raises(ValueError, match=r"was made from a \(111111111111\), now b"):
        decide(folder, replace(MADE_OF, inputs=[{"name": "b", "sha256": "2" * 64}]), "incremental")
    assert before == hashes(tmp_path)


def test_only_what_is_missing_is_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A unit that fails leaves the others done; the same command does it alone, and then nothing."""
    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(JobFailed, match=r"unit 00001 of 3 failed \(the unit is cursed\); the others are done"):
        make(out, MADE_OF, WriteNumber(log, fails_at="00001"))
    assert Counter({"00000": 1, "00002": 1}) == Counter(log.read_text().split())
    assert not (out / MANIFEST).exists()
    made = make(out, MADE_OF, WriteNumber(log))
    assert (6, 3, False) == (made.counts.kept, len(made.markers), made.already)
    assert ["00000", "00001", "00002"] == sorted(log.read_text().split())
    before = hashes(out)
    assert make(out, MADE_OF, WriteNumber(log)).already
    assert "is finished already, nothing to do" in capsys.readouterr().err
    assert before == hashes(out)


def test_a_file_beside_the_shards_belongs_to_the_whole(tmp_path: Path) -> None:
    """Without it the dataset is not finished; what only the work could tell stands in the manifest's options."""
    recipe = replace(MADE_OF, files=("words.json",))

    def learn(output: Folder) -> dict[str, int]:
        output.write_json("words.json", ["a"])
        return {"entries": 1}

    def run() -> bool:
        with output_folder(str(tmp_path)) as folder:
            return make_dataset(
                folder, recipe, "incremental", lambda output, _: Steps(do=lambda: learn(output))
            ).already

    assert [False, True] == [run(), run()]
    assert {"by": 2, "entries": 1} == read_manifest(Folder(tmp_path))["options"]
    (tmp_path / "words.json").unlink()
    assert [False, True] == [run(), run()]


def test_rooms_go_when_a_job_starts_anew(tmp_path: Path) -> None:
    """Those that the job fills itself, and no others."""
    recipe, log = replace(MADE_OF, rooms=("vectors",)), tmp_path / "log"
    make(tmp_path / "out", recipe, WriteNumber(log))
    for room in ("vectors", "notes"):
        Folder(tmp_path / "out").write(f"{room}/a", b"of an earlier run")
    make(tmp_path / "out", recipe, WriteNumber(log), "overwrite")
    assert not (tmp_path / "out/vectors").exists()
    assert (tmp_path / "out/notes/a").exists()
