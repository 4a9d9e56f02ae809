"""A run that changes a folder may be stopped at each of its steps that touch storage, and again in its rerun.

After every stop the dataset from before or the new one is whole, or its readers refuse in one sentence; the same
command goes on to the bytes of a run that was never stopped, and leaves nothing else.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from pipelines.running.dataset import Steps, make_dataset, output_folder
from pipelines.running.do_unit import Done, Note
from pipelines.running.do_units import Engine, Step, do_units
from pipelines.running.finishing import check_all_done, finish
from pipelines.running.output import Decision, IncrementalMode, begin, begin_retry, decide, may_pass
from pipelines.running.recipe import Recipe
from pipelines.running.unit import PLAN, Unit
from schemas.folder import Folder, Staging
from schemas.lock import RUN_LOCK
from schemas.manifest import Counts
from schemas.pairs import FAILED_TO_DOWNLOAD, SUCCESS
from tests.stopping import Change, Place, stop_at_each_step, stop_twice

pytestmark = pytest.mark.alone

RECIPE_A = Recipe(
    job="count", table="numbers", inputs=[{"name": "a", "sha256": "1" * 64}], cut={"by": 2}, options={}, versions={}
)
RECIPE_B = replace(RECIPE_A, inputs=[{"name": "b", "sha256": "2" * 64}])
RECIPE_C = replace(RECIPE_A, inputs=[{"name": "c", "sha256": "3" * 64}])
OTHER_OPTIONS = replace(RECIPE_A, options={"depth": 2})
ROWS = 2


@dataclass(frozen=True)
class WriteText:
    """Each unit has two files, or one; of a first try each unit has a row that failed and may be tried again."""

    text: str
    files: tuple[str, ...] = ("tar", "parquet")
    passes: bool = False

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Both files say what they are."""
        for kind in self.files:
            with staging.file(f"{unit.shard}.{kind}") as file:
                file.write(f"{self.text} {unit.shard} {kind} {self.passes}".encode())
        if self.passes:
            return Done(Counts.all_kept(unit.rows))
        counts = Counts()
        counts.statuses.update({SUCCESS: unit.rows - 1, FAILED_TO_DOWNLOAD: 1})
        counts.reasons["fetch", "timeout"] = 1
        return Done(counts)


def make(url: str, recipe: Recipe, work: WriteText, mode: IncrementalMode = "incremental") -> None:
    """Two units, a file beside the shards and one in a room."""
    recipe = replace(recipe, rooms=("dedup",), files=("words.json",))

    def prepare(output: Folder, decision: Decision) -> Steps:
        output.write(f"{PLAN}/plan.json", b"the plan")
        names = [f"{decision.first + number:05d}" for number in range(2)]
        units = recipe.units([Unit(shard=name, rows=ROWS) for name in names], names)

        def do() -> None:
            do_units(output, units, Step(work=work, title="write"), Engine([], 1))
            check_all_done(output, units)
            output.remove("dedup/last.txt")
            output.write(f"dedup/{work.text}.txt", work.text.encode())
            output.write_json("words.json", [work.text])

        return Steps(units=units, do=do)

    with output_folder(url) as folder:
        make_dataset(folder, recipe, mode, prepare)


def retry(url: str, recipe: Recipe, work: WriteText) -> None:
    """What `pipelines.ingest --incremental_mode retry` does, with other work."""
    with output_folder(url) as folder:
        draft, retried, units = begin_retry(folder, recipe)
        again = may_pass(folder, units)
        do_units(draft, again, Step(work=work, title="write again", again=True), Engine([], 1))
        check_all_done(draft.own, again)
        finish(draft, retried, units)


def _nothing(url: str) -> None:
    pass


def _unfinished(url: str) -> None:
    with output_folder(url) as folder:
        folder.write_json("_recipe.json", {**RECIPE_A.to_json(), "anew": False, "extends": False})
        folder.write("00000.tar", b"half")


A, B = WriteText("a"), WriteText("b")
make_a = lambda url: make(url, RECIPE_A, A)  # noqa: E731  a table of commands follows


def _lost(url: str) -> None:
    make_a(url)
    Folder(url).remove("00001.tar")


def _extended(url: str) -> None:
    make_a(url)
    make(url, RECIPE_B, B, "extend")


def _being_extended(url: str) -> None:
    make_a(url)
    with output_folder(url) as folder:
        begin(folder, RECIPE_C, decide(folder, RECIPE_C, "extend"))
        folder.write("00003.tar", b"half")


CHANGES = {
    "fresh": Change(_nothing, make_a, make_a),
    "fresh over what was begun": Change(_unfinished, make_a, make_a),
    "overwrite what was begun": Change(_unfinished, lambda url: make(url, RECIPE_B, B, "overwrite")),
    "overwrite": Change(make_a, lambda url: make(url, RECIPE_B, WriteText("b", ("tar",)), "overwrite"), make_a),
    "overwrite what was being extended": Change(
        _being_extended, lambda url: make(url, RECIPE_B, WriteText("b", ("tar",)), "overwrite"), make_a
    ),
    "other options": Change(make_a, lambda url: make(url, OTHER_OPTIONS, WriteText("c", ("tar",))), make_a),
    "a file is gone": Change(_lost, make_a, make_a),
    "extend": Change(make_a, lambda url: make(url, RECIPE_B, B, "extend"), make_a),
    "retry": Change(make_a, lambda url: retry(url, RECIPE_A, WriteText("r", passes=True)), make_a),
    "retry what was extended": Change(
        _extended,
        lambda url: retry(url, RECIPE_A, WriteText("r", passes=True)),
        lambda url: make(url, RECIPE_C, B, "extend"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_stopped_at_each_step(place: Place, name: str, record_property: Callable[[str, object], None]) -> None:
    """The law, for one command: each of its steps, and drawn pairs of a step and one of the rerun."""
    points = stop_at_each_step(place, CHANGES[name], random.Random(name), loses_before=name == "a file is gone")
    record_property("points", points[0])
    assert [] == [name for name in place.contents("new") if name.startswith("_") and name != RUN_LOCK], "left over"
    assert points[1] > 10
    assert not os.listdir(tempfile.gettempdir())


@pytest.mark.parametrize("name", ["retry", "extend"])
def test_stopped_and_stopped_again(
    place: Place, name: str, full: bool, record_property: Callable[[str, object], None]
) -> None:
    """The law for all pairs of a step and one of the rerun; in the ordinary tests for drawn ones."""
    pairs = stop_twice(place, CHANGES[name], random.Random(name), None if full else 4)
    record_property("pairs", pairs)
    assert pairs > (90 if full else 5)
    assert not os.listdir(tempfile.gettempdir())
