"""What each command of a flow says of itself (`--plan --json`), and what follows for those after it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pipelines.chain.sections import Section, lies_in
from schemas.exit_codes import FAILED, OK, USAGE
from schemas.planning import state_in_words, time_in_words


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a command stands."""

    section: Section
    said: Mapping[str, Any]
    """Its plan; nothing if it refuses."""
    code: int = OK
    """What it ended with."""
    sentence: str = ""
    """Why it refuses, in its own words."""
    after: Sequence[str] = ()
    """Sections before it that have something to do, and leave what it reads."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do, nor will be after the sections before it."""
        return self.said.get("state") == "done" and not self.after

    @property
    def hours(self) -> float | None:
        """That it takes; None if that is not known."""
        return None if self.after or not self.said else self.said["hours"]

    def in_words(self) -> str:
        """The state, in a few words."""
        if not self.said:
            return f"refused: {self.sentence}"
        if self.after:
            return f"to do after {' and '.join(self.after)}"
        if self.said["state"] == "waits":
            return f"waits for {self.said['waits_for']}"
        names = ("state", "why", "done", "all", "unit")
        return state_in_words(*(self.said[name] for name in names))


def standings(sections: Sequence[Section]) -> list[Standing]:
    """Where all commands of a flow stand, in its order."""
    known: list[Standing] = []
    for one in _asked(sections):
        known.append(_after(one, known))
    return known


def _asked(sections: Sequence[Section]) -> Iterator[Standing]:
    """What each command says, asked by a process of its own (`pipelines.chain.asking`)."""
    asked = json.dumps([[section.command, list(section.words)] for section in sections])
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines.chain.asking"], input=asked.encode(), capture_output=True, check=False
    )
    answers = ended.stdout.decode().splitlines()
    for section, line in zip_longest(sections, answers):
        answer: dict[str, Any] = json.loads(line) if line is not None else {"code": FAILED, "out": "", "errors": ""}
        if answer["code"] == OK:
            yield Standing(section=section, said=json.loads(answer["out"]))
            continue
        words = answer["errors"].strip().splitlines() or [f"it ended with {ended.returncode} as it was asked"]
        sentence = words[-1].removeprefix(f"{section.command}: ")
        yield Standing(section=section, said={}, code=answer["code"], sentence=sentence)


def _after(one: Standing, before: Sequence[Standing]) -> Standing:
    """The same with the sections that it comes after, or refused if it waits for what none of them makes."""
    if not one.said:
        return one
    makers = [
        each.section.name
        for each in before
        if not each.is_done and any(_makes(each, path) for path in one.said["reads"])
    ]
    missing = one.said["waits_for"]
    is_made = missing is None or any(_makes(each, missing) and not each.is_done for each in before)
    if not is_made and all(each.said for each in before):  # else what refuses says enough
        why = one.said["why"]
        return Standing(
            section=one.section, said={}, code=USAGE, sentence=f"{why}; nothing that is to do before it makes {missing}"
        )
    return Standing(section=one.section, said=one.said, after=makers)


def _makes(one: Standing, path: str) -> bool:
    outputs = [one.said.get("output"), *one.said.get("also_writes", ())]
    return any(output is not None and lies_in(path, output) for output in outputs)


def table(standing: Sequence[Standing]) -> list[str]:
    """The plan, a line for each section, and the time in all."""
    widest = max(len(each.section.name) for each in standing)
    lines = []
    for each in standing:
        output = f" -> {each.said['output']}" if each.said.get("output") else ""
        hours = "" if each.is_done or each.hours is None else f", about {time_in_words(each.hours)}"
        lines.append(f"  {each.section.name:{widest}}  {each.in_words()}{output if each.said else ''}{hours}")
    left = [each for each in standing if not each.is_done]
    known = [each.hours for each in left if each.hours is not None]
    unknown = [each.section.name for each in left if each.hours is None]
    if left and known:
        more = f", and the time of {', '.join(unknown)}" if unknown else ""
        lines.append(f"  {'in all':{widest}}  about {time_in_words(sum(known))}{more}")
    return lines
