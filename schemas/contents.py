"""What lies in a folder, in a user's words: what which command left there, a part of it, or somebody's own files.

Whoever is given a wrong folder is told what it holds, what is expected, and who leaves that.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.folder import RECIPE, Folder, is_work
from schemas.picture_endings import ENDINGS


@dataclass(frozen=True)
class Left:
    """What a job leaves."""

    command: str
    """How the job is called."""
    table: str
    """What its manifest says that the folder holds; nothing if it leaves no manifest."""
    words: str
    """What a user calls it."""


JOBS: Mapping[str, Left] = {
    "ingest": Left("pipelines.ingest", "pairs", "pairs"),
    "dedup": Left("pipelines.dedup", "pairs", "deduplicated pairs"),
    "vocab": Left("pipelines.vocab", "vocabulary", "a vocabulary"),
    "encode": Left("pipelines.encode", "examples", "examples"),
    "train_dvae": Left("dalle.train_dvae", "model", "a dVAE"),
    "train_prior": Left("dalle.train_prior", "model", "a prior"),
    "train_contrastive": Left("dalle.train_contrastive", "model", "a contrastive model"),
    "train_detector": Left("dalle.train_detector", "model", "a detector"),
    "train_judge": Left("dalle.train_judge", "model", "a judge"),
    "generate": Left("dalle.generate", "samples", "drawn pictures"),
    "evaluate": Left("dalle.evaluate", "", "an evaluation"),
    "judge": Left("dalle.judge", "", "verdicts"),
    "study": Left("dalle.study", "", "a study"),
}
"""By the name that a manifest has for the job."""

_WORDS: Mapping[str, str] = {"pairs": "pairs", "examples": "examples", "vocabulary": "a vocabulary", "model": "a model"}
_PICTURES = tuple(f".{ending}" for ending in ENDINGS)
_LISTS = frozenset(("csv", "tsv", "json", "jsonl", "parquet"))
"""Parts of the names of lists; a .txt beside a picture is its caption."""
_BESIDE_PICTURES = ("captions.jsonl", "metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Files of a folder of pictures that tell their captions."""
SAYS_WHOSE = ("manifest.json", RECIPE, f"_next/{RECIPE}", "evaluation.json", "judged.json")
"""Files that name the job which left a folder or is at work in it."""
OF_THE_DISK = ("lost+found", "desktop.ini", "Thumbs.db", "@eaDir", "System Volume Information")
"""What systems leave in a folder by themselves, beside hidden files."""


def job_in(folder: Folder) -> str:
    """The job that left what is in a folder, or is at work in it; nothing if no file says so."""
    for name in SAYS_WHOSE:
        if folder.exists(name):
            try:
                value = folder.read_json(name)
            except (ValueError, OSError):
                continue
            if isinstance(value, dict) and isinstance(value.get("job"), str):
                return str(value["job"])
    return "study" if folder.exists("key.json") and "pages" in folder.folders() else ""


def foreign_in(folder: Folder) -> str | None:
    """The first of somebody's own files or folders in a folder of which no job says that it is its own."""
    names = (*folder.names(), *folder.folders())
    return next((name for name in names if not is_work(name) and name not in OF_THE_DISK), None)


def why_no_dataset(folder: Folder, tables: tuple[str, ...]) -> str:
    """What a folder without a manifest holds, and which is wanted instead, in a sentence.

    Args:
        folder: as it was given.
        tables: what it should have held; nothing means any dataset.
    """
    give = f"give the folder that {_left_by(tables)} left"
    if folder.is_local and os.path.isfile(folder.root):
        above = os.path.dirname(folder.root)
        if os.path.exists(f"{above}/manifest.json"):
            give = f"give its folder, {shlex.quote(above)}"
        return f"{folder}: is a file, expected a folder with {_expected(tables)}; {give}"
    left, names, rooms = JOBS.get(job_in(folder)), folder.names(), folder.folders()
    if left and left.table and (left.table in tables or not tables):
        return (
            f"{folder}: has no manifest.json, so it is not a finished dataset; run the python -m {left.command} "
            "command that began it once more, which goes on to its end"
        )
    if left:
        return f"{folder}: holds {left.words}, expected {_expected(tables)}; {give}"
    if not names and not rooms:
        missing = folder.is_local and not os.path.isdir(folder.root)
        what = "is not there" if missing else "is empty"
        return f"{folder}: {what}, so it is not a finished dataset, expected {_expected(tables)}; {give}"
    if _has_pictures(folder, names, rooms):
        return (
            f"{folder}: holds pictures and no dataset, expected {_expected(tables)}; make pairs of them first: python "
            f"-m pipelines.ingest --dataset folder --url_list {shlex.quote(folder.url)} --output_folder pairs"
        )
    shown = next((name for name in (*names, *rooms) if not is_work(name)), (*names, *rooms)[0])
    return f"{folder}: holds '{shown}' and no manifest.json, so it is not a finished dataset; {give}"


def is_awaited(folder: Folder, tables: tuple[str, ...]) -> bool:
    """Whether a folder without a manifest holds nothing, or what a job has begun that leaves what is wanted.

    Args:
        folder: as it was given.
        tables: what it should have held; nothing means any dataset.
    """
    if folder.is_local and os.path.isfile(folder.root):
        return False
    if left := JOBS.get(job_in(folder)):
        return bool(left.table) and (left.table in tables or not tables)
    return not folder.names() and not folder.folders()


def check_pictures(path: str | os.PathLike[str], flag: str) -> None:
    """Check that a folder which is to be gone through for pictures is there, and not what a job left without any.

    Args:
        path: a local folder or an URL, as it was given.
        flag: that named it.

    Raises:
        ValueError: saying what it holds.
    """
    if "://" in os.fspath(path):  # whoever opens it says what is wrong
        return
    folder = Folder(path)
    if not (os.path.isdir(folder.root) and os.listdir(folder.root)):
        found = (
            "is empty" if os.path.isdir(folder.root) else "is a file" if os.path.exists(folder.root) else "is not there"
        )
        raise ValueError(f"{flag} {path}: {found}, expected a folder of pictures; give one")
    left = JOBS.get(job_in(folder))
    if left and left.table not in ("samples", ""):
        reader = "--dataset img2dataset" if flag == "--url_list" else "--input_folder"
        instead = f"; {reader} reads those" if left.table == "pairs" else ""
        raise ValueError(f"{flag} {path}: holds {left.words}, expected a folder of pictures{instead or '; give one'}")


def check_no_pictures(path: str, flag: str) -> None:
    """Check that a folder which is to be read as lists is not one of pictures.

    Raises:
        ValueError: saying how those are collected.
    """
    if not os.path.isdir(path):
        return
    folder = Folder(path)
    if (left := JOBS.get(job_in(folder))) and left.table:
        instead = "--dataset img2dataset reads those" if left.table == "pairs" else "give the list of links itself"
        raise ValueError(f"{flag} {path}: holds {left.words} and is no list; {instead}")
    names = folder.names()
    has_lists = any(_LISTS & {*name.lower().split(".")[1:]} and name.lower() not in _BESIDE_PICTURES for name in names)
    if not has_lists and _has_pictures(folder, names, []):
        raise ValueError(f"{flag} {path}: holds pictures and is no list; --dataset folder collects those")


def why_another(folder: Folder, manifest: Mapping[str, Any], tables: tuple[str, ...]) -> str:
    """That a folder holds another kind of thing than is wanted, in a sentence."""
    left, table = JOBS.get(str(manifest.get("job"))), str(manifest.get("table"))
    holds = left.words if left and left.table == table else _WORDS.get(table, f"a table of '{table}'")
    return f"{folder}: holds {holds}, expected {_expected(tables)}; give the folder that {_left_by(tables)} left"


def why_not_left(path: str, job: str, file: str = "model.safetensors") -> str:
    """Why a path is not what a job left, in the words after its name; nothing if names and folders tell nothing.

    Args:
        path: a local folder or file, as it was given.
        job: such as `train_prior`.
        file: what that leaves in its folder.
    """
    wanted, is_folder = JOBS[job], os.path.isdir(path)
    expected = f"expected {wanted.words}; give the folder that {wanted.command} left, or the {file} in it"
    if not os.path.exists(path):
        return f"is not there, {expected}"
    left = job_in(Folder(path if is_folder else os.path.dirname(path) or "."))
    if left and left != job and left in JOBS:
        return f"{'holds' if is_folder else 'lies with'} {JOBS[left].words}, {expected}"
    if not is_folder or os.path.isfile(f"{path}/{file}"):
        return ""
    if left:
        return f"has no {file}, so it is not finished; run the python -m {wanted.command} command once more"
    return f"{f'holds no {file}' if os.listdir(path) else 'is empty'}, {expected}"


def is_awaited_of(path: str, job: str) -> bool:
    """Whether a path is not there, or an empty folder, or one in which just this job was begun.

    Args:
        path: a local folder or file, as it was given.
        job: that leaves what is wanted, such as `train_prior`.
    """
    if not os.path.exists(path):
        return True
    return os.path.isdir(path) and (not os.listdir(path) or job_in(Folder(path)) == job)


def _expected(tables: tuple[str, ...]) -> str:
    return " or ".join(_WORDS.get(table, f"'{table}'") for table in tables) or "a dataset"


def _left_by(tables: tuple[str, ...]) -> str:
    return " or ".join(left.command for left in JOBS.values() if left.table in tables) or "a job"


def _has_pictures(folder: Folder, names: list[str], rooms: list[str]) -> bool:
    """Whether it is a folder of pictures, here or one floor below."""
    below = (name for room in rooms if not is_work(room) for name in folder.names(room))
    return any(name.lower().endswith(_PICTURES) for some in (names, below) for name in some)
