"""What the file of a flow says: sections named as the jobs, with their flags, in its order.

    [train_prior]                   python -m dalle.train_prior small --input_folder examples --steps 2000
    preset = "small"
    input_folder = "examples"
    steps = 2000

    [generate.unseen]               a job that runs more than once has names
    arguments = ["a red kite above a house"]

Options are words as one would type them: lists become several, True and False are spelled so. Which of them a job
takes is its own affair.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.commands.flag_mistakes import any_of, nearest
from schemas.contents import JOBS
from schemas.regular_file import check_regular

COMMANDS: Mapping[str, str] = {
    **{job: left.command for job, left in JOBS.items() if job != "study"},
    "audit": "pipelines.audit",
}
"""By the name of a job its command."""
PRESET, ARGUMENTS = "preset", "arguments"
_OURS = ("plan", "json", "help")
"""Flags that a flow gives, or that would keep a job from its work."""
_NAME = re.compile(r"[A-Za-z][\w-]*")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One command of a flow."""

    name: str
    """As the file has it, `encode` or `generate.unseen`."""
    words: Sequence[str]
    """After the command's name."""

    @property
    def job(self) -> str:
        """What is run."""
        return self.name.partition(".")[0]

    @property
    def command(self) -> str:
        """The job as a command, such as `pipelines.encode`."""
        return COMMANDS[self.job]


def read_flow(file: str) -> list[Section]:
    """The sections of a file, in its order.

    Raises:
        ValueError: if it is no TOML, or says something that is no word of a command line.
        OSError: if it cannot be read.
    """
    check_regular(file)
    try:
        text = Path(file).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: byte {error.start} is not UTF-8; expected a flow in TOML") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: is not TOML ({error}); expected sections such as [encode]") from None
    tables = dict(_tables(file, value))
    if not tables:
        raise ValueError(f"{file}: has no sections, expected some such as [ingest] or [encode]; name the jobs to run")
    return [Section(name=name, words=words_of(f"{file}: [{name}]", tables[name])) for name in _order(text, tables)]


def until(sections: Sequence[Section], name: str | None) -> list[Section]:
    """The sections up to and with one.

    Raises:
        ValueError: if there is none of this name.
    """
    if name is None:
        return list(sections)
    names = [section.name for section in sections]
    last = [place for place, each in enumerate(names) if name in (each, each.partition(".")[0])]
    if not last:
        hint = nearest(name, names) or f"; there are {any_of(names)}"
        raise ValueError(f"--until {name}: the flow has no such section{hint}")
    return list(sections[: last[-1] + 1])


def words_of(where: str, table: Mapping[str, Any]) -> list[str]:
    """The words of a command line that a table stands for.

    >>> words_of("here", {"best_of": [1, 8], "preset": "tiny", "within": True})
    ['tiny', '--best_of', '1', '8', '--within', 'True']

    Raises:
        ValueError: naming a value that is no word.
    """
    first, flags = list[str](), list[str]()
    for name, value in table.items():
        if name in _OURS:
            raise ValueError(f"{where}: {name} is asked for by the flow itself; leave it out, and see --dry_run")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{where}: '{name}' is no name of a flag; write it as the job does, without its dashes")
        words = [_word(where, name, each) for each in (value if isinstance(value, list) else [value])]
        if name == PRESET:
            first = [*words, *first]
        elif name == ARGUMENTS:
            first += words
        elif len(words) == 1 and words[0].startswith("-"):
            flags.append(f"--{name}={words[0]}")  # which would be taken for a flag of its own
        else:
            flags += [f"--{name}", *words]
    return [*first, *flags]


def _word(where: str, name: str, value: object) -> str:
    if isinstance(value, (bool, int, float, str)):
        return str(value)
    kind = type(value).__name__
    what = {"dict": "a table", "list": "a list in a list"}.get(kind, f"a {kind}")
    raise ValueError(f"{where}: {name} is {what}, expected a text, a number, true or false, or a list of them")


def _tables(file: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """By its name the table of each section."""
    for job, table in value.items():
        if job not in COMMANDS:
            hint = nearest(job, COMMANDS) or f"; sections are named {any_of(COMMANDS)}"
            raise ValueError(f"{file}: [{job}] is no job{hint}")
        if not isinstance(table, Mapping):
            raise ValueError(f"{file}: {job} is no section; write [{job}] with its flags below it")
        inner = [name for name, each in table.items() if isinstance(each, Mapping)]
        if not inner:
            yield job, table
            continue
        if others := [name for name in table if name not in inner]:
            raise ValueError(
                f"{file}: [{job}] has {others[0]} and, below it, [{job}.{inner[0]}]; give each of its runs a name and "
                "flags of its own"
            )
        for name in inner:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{file}: [{job}.{name}] has no name; expected letters and digits, such as [{job}.a]")
            yield f"{job}.{name}", table[name]


def _order(text: str, tables: Mapping[str, Any]) -> list[str]:
    """The names of sections as they come in the file: TOML puts those of one job together, wherever they stand."""
    lines, names = text.split("\n"), list[str]()
    for place, line in enumerate(lines):
        if line.lstrip().startswith("["):
            try:
                so_far = tomllib.loads("\n".join(lines[: place + 1]))
            except tomllib.TOMLDecodeError:  # in the middle of a value
                continue
            names += [name for name in tables if name not in names and _has(so_far, name)]
    return [*names, *(name for name in tables if name not in names)]


def _has(value: Mapping[str, Any], name: str) -> bool:
    job, _, run = name.partition(".")
    return job in value and (not run or run in value[job])


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies in it, as far as their names tell.

    >>> lies_in("prior/model.safetensors", "./prior/"), lies_in("prior2", "prior")
    (True, False)
    """
    if "://" in path or "://" in folder:
        return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    one, other = os.path.realpath(path), os.path.realpath(folder)
    return one == other or one.startswith(f"{other.rstrip(os.sep)}{os.sep}")
