"""Whoever reads a dataset whose manifest or markers were tampered with: one sentence and exit code 2, or a good end.

Changes are drawn by seed from all places and kinds of `tests.tampering`; `tests/schemas/test_tampered.py` goes through
all of them with the reader that every job and training has.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dalle import train_dvae, train_prior
from dalle.reading.batches import Batches
from dalle.reading.epoch_order import Piece
from dalle.reading.example_shards import ExampleShards
from dalle.reading.pair_shards import PairShards
from dalle.scenes import compose, draw
from pipelines import audit, dedup, encode, ingest, vocab
from pipelines.captions import caption_streams
from schemas import opening
from schemas.exit_codes import FAILED, OK, USAGE
from schemas.folder import Folder
from tests.conftest import hashes, write_jpeg
from tests.tampering import tampered

DRAWN = 6
"""Changes that each reader is shown."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, clean ones and examples of three pictures in two shards, and what they are made from."""
    place = tmp_path_factory.mktemp("made")
    (place / "pictures").mkdir()
    for number in range(3):
        write_jpeg(place / "pictures" / f"{number}.jpg", draw(compose(number, 64, 64)))
        (place / "pictures" / f"{number}.txt").write_text(f"a drawn picture that has the number {number}")
    for job, flags in COMMANDS.items():
        if job in ("ingest", "dedup", "encode"):
            assert OK == call(place, job, flags)
    return place


COMMANDS: dict[str, tuple[str, ...]] = {
    "ingest": ("--dataset", "folder", "--url_list", "{}/pictures", "--output_folder", "{}/pairs", "--number_sample_per_shard", "2"),
    "dedup": ("--input_folder", "{}/pairs", "--within", "--detector", "phash", "--output_folder", "{}/clean"),
    "encode": ("--input_folder", "{}/clean", "--dvae", "tests.own_encoder:Greys", "--output_folder", "{}/examples"),
    "vocab": ("--input_folder", "{}/clean", "--output_folder", "{}/vocab"),
    "audit": ("{}/clean",),
    "audit examples": ("{}/examples",),
    "train_dvae": ("tiny", "--input_folder", "{}/clean", "--output_folder", "{}/dvae", "--steps", "1", "--batch_size", "2", "--vocab_size", "32"),
    "train_prior": ("tiny", "--input_folder", "{}/examples", "--output_folder", "{}/prior", "--steps", "2", "--log_every", "1", "--batch_size", "2"),
}  # fmt: skip
MAINS: dict[str, Callable[[list[str]], int]] = {
    "ingest": ingest.main, "dedup": dedup.main, "encode": encode.main, "vocab": vocab.main,
    "audit": audit.main, "audit examples": audit.main, "train_dvae": train_dvae.main, "train_prior": train_prior.main,
}  # fmt: skip
IN_ONE_PROCESS = ("ingest", "dedup", "encode", "audit", "audit examples")
READS = {
    "ingest": "pairs", "dedup": "pairs", "encode": "clean", "vocab": "clean", "audit": "clean",
    "audit examples": "examples", "train_dvae": "clean", "train_prior": "examples",
}  # fmt: skip


def call(place: Path, job: str, flags: tuple[str, ...]) -> int:
    own = [flag.format(place) for flag in flags]
    return MAINS[job]([*own, "--processes_count", "1"] if job in IN_ONE_PROCESS else own)


@pytest.mark.slow
@pytest.mark.parametrize("job", COMMANDS)
def test_each_reader(job: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its code is 2 and it says one line, or it does what it does with any dataset; nothing is written elsewhere."""
    chance = random.Random(job)
    whole = json.loads((made / READS[job] / "manifest.json").read_text())
    changes = list(tampered(whole))
    codes = set()
    for number, (what, value) in enumerate(chance.sample(changes, DRAWN)):
        place = tmp_path / str(number) / "place"
        shutil.copytree(made, place)
        for folder in {"dedup": ["clean"], "encode": ["examples"]}.get(job, []):
            shutil.rmtree(place / folder)
        (place / READS[job] / "manifest.json").write_text(json.dumps(value))
        capsys.readouterr()
        code = call(place, job, COMMANDS[job])
        said = capsys.readouterr().err
        codes.add(code)
        if job.startswith("audit"):
            assert code in (OK, FAILED, USAGE), what
        else:
            assert code in (OK, USAGE), (what, said)
        if code == USAGE:
            assert 1 == len([line for line in said.splitlines() if "is not the recommended" not in line]), said
        assert ["place"] == [path.name for path in place.parent.iterdir()]
    assert USAGE in codes


def test_readers_for_a_training(made: Path, tmp_path: Path) -> None:
    """All changes of a count, a name and an option: refused at once, or the data of the shards."""
    for name, read in (
        ("clean", lambda folder: PairShards(folder)),
        ("examples", lambda folder: ExampleShards(folder)),
    ):
        shutil.copytree(made / name, tmp_path / name)
        whole = json.loads((made / name / "manifest.json").read_text())
        for number, (_, value) in enumerate(tampered(whole)):
            (tmp_path / name / "manifest.json").write_text(json.dumps(value))
            try:
                shards = read(str(tmp_path / name))
                if number % 20 == 0:
                    list(Batches(shards, batch_size=1))
            except ValueError as error:
                assert 1 == len(str(error).splitlines())


def test_markers_of_its_own(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """An unfinished folder goes on, or says what is wrong with a marker; a finished one does not look at them."""
    chance = random.Random(4)
    path = Path("pairs/00000_stats.json")
    for number, (what, value) in enumerate(chance.sample(list(tampered(json.loads((made / path).read_text()))), 12)):
        place = tmp_path / str(number) / "place"
        shutil.copytree(made, place)
        (place / "pairs/manifest.json").unlink()
        recipe = json.loads((made / "pairs/manifest.json").read_text())
        (place / "pairs/_recipe.json").write_text(
            json.dumps({name: recipe[name] for name in ("job", "inputs", "options")})
        )
        (place / path).write_text(json.dumps(value))
        capsys.readouterr()
        code = call(place, "ingest", COMMANDS["ingest"])
        said = capsys.readouterr().err
        assert code in (OK, FAILED, USAGE), (what, said)
        assert code == OK or 1 == len(said.splitlines()), said


@pytest.mark.parametrize("job", ["dedup", "encode", "vocab"])
def test_a_dataset_that_is_changed_while_it_is_read(
    job: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """By another command, just after its manifest was read: no mixture; the same command makes of it what it is now."""
    place = tmp_path / "place"
    shutil.copytree(made, place)
    flags = (*(flag.replace("{}/clean", "{}/pairs") for flag in COMMANDS[job][:-1]), "{}/new")
    module = {"dedup": dedup, "encode": encode, "vocab": caption_streams}[job]
    opened = opening.open_dataset

    def changed_after(folder: Folder, **more: Any) -> Any:
        manifest = opened(folder, **more)
        monkeypatch.setattr(module, "open_dataset", opened)
        assert OK == call(place, "ingest", (*COMMANDS["ingest"], "--image_size", "128"))
        return manifest

    monkeypatch.setattr(module, "open_dataset", changed_after)
    assert (USAGE if job == "vocab" else FAILED) == call(place, job, flags)  # vocab reads before it makes its folder
    assert "was changed while this job read it; run the command again" in capsys.readouterr().err
    assert not (place / "new/manifest.json").exists()
    assert OK == call(place, job, (*flags, "--incremental_mode", "overwrite"))
    assert OK == call(place, job, (*flags[:-1], "{}/fresh"))
    assert hashes(place / "fresh") == hashes(place / "new")


def test_a_dataset_that_is_being_made_anew_while_a_training_reads_it(made: Path, tmp_path: Path) -> None:
    """Another's files lie there, and no marker yet; a finished dataset that came without markers is read."""
    pairs = tmp_path / "pairs"
    shutil.copytree(made / "pairs", pairs)
    reader = PairShards(str(pairs), allow_undeduplicated=True)
    for marker in pairs.glob("*_stats.json"):
        marker.unlink()
    assert 2 == len(reader.load([Piece(0, 0, 2)]).data)
    (pairs / "manifest.json").unlink()
    with pytest.raises(ValueError, match="its shard 00000 was changed while this job read it"):
        reader.load([Piece(0, 0, 2)])


@pytest.mark.parametrize("before", ["its files", "nothing"])
def test_a_dataset_that_is_changed_while_a_training_reads_it(before: str, made: Path, tmp_path: Path) -> None:
    """No batch mixes two datasets: not where the numbers of rows are other ones, nor where they are the same."""
    place = tmp_path / "place"
    shutil.copytree(made, place)
    readers: list[ExampleShards | PairShards] = [
        ExampleShards(str(place / "examples")),
        PairShards(str(place / "pairs"), allow_undeduplicated=True),
        PairShards(str(place / "clean")),
    ]
    pieces = [Piece(0, 0, 2), Piece(1, 0, 1)]
    if before == "its files":
        for reader in readers:
            reader.load(pieces[:1])
    for job, flags in (("ingest", ("--image_size", "128")), ("dedup", ()), ("encode", ("--seed", "3"))):
        assert OK == call(place, job, (*COMMANDS[job], *flags, "--incremental_mode", "overwrite"))
    for reader in readers:
        with pytest.raises(ValueError, match=r"its shard 0000[01] was changed while this job read it"):
            reader.load(pieces)
