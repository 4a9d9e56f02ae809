"""A study that was counted, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from dalle.evaluation.study.page import FORMAT_VERSION
from dalle.evaluation.study.tally import Question, Tally, TallyOptions
from schemas.commands.printing import printable
from schemas.options import options_json

TALLY = "tally.json"
_ASKED = {"realistic": "more realistic", "matches": "matches the caption better"}


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """All options of `dalle.study count`."""

    study: str = "study"
    """What dalle.study ask left; tally.json goes there."""
    answers: tuple[str, ...] = ()
    """Files that workers sent back, or folders of them."""
    counting: TallyOptions = field(default_factory=TallyOptions)


def answer_files(answers: Sequence[str]) -> list[Path]:
    """The files, and those that end in .json of the folders.

    Raises:
        ValueError: if there are none.
    """
    if not answers:
        raise ValueError("--answers is missing; say where the files are that workers sent back")
    files: list[Path] = []
    for name in answers:
        path = Path(name)
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found or not path.exists():
            what = "has no .json files" if path.exists() else "is not there"
            raise ValueError(f"--answers {name}: {what}; give the files that workers sent back, or a folder of them")
        files += found
    return files


def tally_json(tally: Tally, study: str, options: CountOptions) -> dict[str, Any]:
    """As `tally.json` has it."""
    return {
        "format_version": FORMAT_VERSION,
        "job": "study",
        "study": study,
        "options": options_json(options.counting),
        **tally.to_json(),
    }


def tally_table(tally: Tally) -> Table:
    """For each question how many captions each model wins."""
    table = Table(title="what the majority says", title_justify="left", box=None, pad_edge=False)
    for name in ("", "", "captions", "share", "interval of 95 %"):
        table.add_column(name, justify="right" if name else "left")
    for name, question in tally.questions.items():
        lines = [*question.wins.items(), ("no majority", question.ties)]
        for number, (model, one) in enumerate(lines):
            cells = (f"{one.captions:,}", f"{100 * one.share:.1f} %", f"{100 * one.low:.1f} to {100 * one.high:.1f} %")
            table.add_row("" if number else _ASKED[name], printable(model), *cells)
    return table


def notes(tally: Tally) -> Iterator[str]:
    """What else a reader should know, a sentence each."""
    yield f"captions: {tally.captions:,}, workers: {len(tally.workers):,}"
    for name, question in tally.questions.items():
        yield f"votes, {_ASKED[name]}: {_votes(question)}"
    if tally.captions_short_of_votes:
        yield f"not counted: {len(tally.captions_short_of_votes):,} captions, which have too few votes"
    if tally.votes_beyond:
        yield f"not counted: {tally.votes_beyond:,} votes beyond those of their captions"
    for what, left_out in (("worker", tally.workers_left_out), ("file", tally.files_left_out)):
        for name, why in left_out.items():
            yield printable(f"left out: {what} {name}: {why.removeprefix(f'{name}: ')}")


def _votes(question: Question) -> str:
    return ", ".join(f"{printable(name)} {count:,}" for name, count in question.votes.items())
