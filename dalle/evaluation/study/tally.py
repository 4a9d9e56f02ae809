"""Count a study: who is left out, then by caption the majority of the votes, then how often each model wins.

The paper asked five workers for each caption and left out one who disagreed with the others and gave many answers in
less than four seconds (Ramesh et al. 2021, §3.1 and Appendix).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dalle.evaluation.study.answers import Answer, Answers, Key, Pair, read_answers, read_key
from dalle.evaluation.study.binomial import interval
from schemas.ranges import Between, check_ranges

QUESTIONS = ("realistic", "matches")
_OTHERS = 2
"""Who answered a pair, at least, to say what most others think."""


@dataclass(frozen=True, kw_only=True)
class TallyOptions:
    """Whose votes count, and how many make a majority."""

    votes: int = 5
    """For each caption, 1 to 1,000; a caption with fewer is not counted."""
    most_failed_checks: float = 0.25
    """Share of the checks that a worker may fail, 0 to 1."""
    least_seconds: float = 4.0
    """An answer in less is hasty, 0 to 1,000,000."""
    most_hasty: float = 0.5
    """Share of a worker's answers that may be hasty, 0 to 1."""
    least_agreement: float = 0.0
    """Share of a worker's answers that must be what most others said, 0 to 1."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"votes": Between(1, 1000), "least_seconds": Between(0, 1e6)}
        shares = ("most_failed_checks", "most_hasty", "least_agreement")
        check_ranges(self, ranges | dict.fromkeys(shares, Between(0, 1)))


@dataclass(frozen=True)
class Share:
    """Captions of a kind among those counted."""

    captions: int
    share: float
    low: float
    high: float
    """Ends of the exact binomial interval of 95 %."""


@dataclass(frozen=True)
class Question:
    """What the majorities said to one question."""

    wins: dict[str, Share]
    """By model: captions of which more than half of the votes are for it."""
    ties: Share
    """Captions without such a majority for either: votes divided, or most for neither."""
    votes: dict[str, int]
    """All votes that were counted, by model and `neither`."""


@dataclass(frozen=True)
class Tally:
    """All of it."""

    captions: int
    """That have all their votes."""
    captions_short_of_votes: list[str]
    """Ids of the others."""
    questions: dict[str, Question]
    """`realistic` and `matches`."""
    workers: list[str]
    """Whose votes were counted."""
    workers_left_out: dict[str, str]
    """And why."""
    agreement: dict[str, float]
    """Of each worker who is not left out for another reason: share of the answers that are what most others said, of
    those to pairs that two or more others answered; nothing of a worker who has none such."""
    files_left_out: dict[str, str]
    """And why."""
    votes_beyond: int
    """Votes that were not counted because their caption had enough."""

    def to_json(self) -> dict[str, Any]:
        """For a file of figures."""
        return asdict(self)


def tally(
    key: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]], options: TallyOptions | None = None
) -> Tally:
    """Count the answers of workers.

    If a caption has more votes than are wanted, those of the workers whose names come first count: by name, so that
    nothing depends on the order of the files.

    Args:
        key: the file that `write_study` left beside its pages.
        files: the workers'; one that cannot be used is left out, and the tally says why.
        options: whose votes count.

    Raises:
        ValueError: if the key is none, or no file can be used.
        OSError: if the key cannot be read.
    """
    options = options or TallyOptions()
    known = read_key(key)
    usable, files_left_out = _read(files, known)
    if not usable:
        why = next(iter(files_left_out.values()), "no file was given")
        raise ValueError(f"{os.fspath(key)}: no worker's file can be counted: {why}")
    by_worker, workers_left_out = _of_workers(usable)
    pairs = {name: pair for page in known.pages for name, pair in page.items()}
    for worker, answers in list(by_worker.items()):
        if why := _why_left_out(answers, pairs, options):
            workers_left_out[worker] = why
            del by_worker[worker]
    asked = {name: pair for name, pair in pairs.items() if pair.check is None}
    agreement = {worker: share for worker in by_worker if (share := _agreement(worker, by_worker, asked)) is not None}
    for worker, share in agreement.items():
        if share < options.least_agreement:
            said = f"agrees with most others in {share:.0%} of the answers, {options.least_agreement:.0%} are expected"
            workers_left_out[worker] = said
            del by_worker[worker]
    votes = {name: _votes(name, by_worker) for name in asked}
    full = [(asked[name], some[: options.votes]) for name, some in votes.items() if len(some) >= options.votes]
    return Tally(
        captions=len(full),
        captions_short_of_votes=[asked[name].caption for name, some in votes.items() if len(some) < options.votes],
        questions={what: _question(what, full, known) for what in QUESTIONS},
        workers=sorted(by_worker),
        workers_left_out=dict(sorted(workers_left_out.items())),
        agreement=agreement,
        files_left_out=files_left_out,
        votes_beyond=sum(max(0, len(some) - options.votes) for some in votes.values()),
    )


def _read(files: Iterable[str | os.PathLike[str]], key: Key) -> tuple[list[Answers], dict[str, str]]:
    usable, left_out = [], {}
    for file in sorted(os.fspath(one) for one in files):
        try:
            usable.append(read_answers(file, key))
        except (ValueError, OSError) as error:
            left_out[file] = str(error)
    return usable, left_out


def _of_workers(files: Iterable[Answers]) -> tuple[dict[str, dict[str, Answer]], dict[str, str]]:
    """Answers by worker and pair; who answered a pair in two ways is left out, for two may share a name."""
    found: dict[str, dict[str, Answer]] = {}
    left_out: dict[str, str] = {}
    for file in files:
        before = found.setdefault(file.worker, {})
        for name, answer in file.answers.items():
            same = before.setdefault(name, answer)
            if (same.realistic, same.matches) != (answer.realistic, answer.matches):
                left_out[file.worker] = "answered one pair in two ways, in two files"
            elif answer.seconds < same.seconds:
                before[name] = answer
    return {worker: answers for worker, answers in sorted(found.items()) if worker not in left_out}, left_out


def _why_left_out(answers: Mapping[str, Answer], pairs: Mapping[str, Pair], options: TallyOptions) -> str:
    """Why a worker's votes do not count; nothing if they do."""
    checks = [(answer.matches, pairs[name].check) for name, answer in answers.items() if pairs[name].check is not None]
    failed = sum(said != right for said, right in checks)
    hasty = sum(answer.seconds < options.least_seconds for answer in answers.values())
    if not answers:
        return "answered nothing"
    if not checks and any(pair.check is not None for pair in pairs.values()):
        return "answered none of the checks"
    if checks and failed / len(checks) > options.most_failed_checks:
        return f"failed {failed} of {len(checks)} checks, {options.most_failed_checks:.0%} are allowed"
    if hasty / len(answers) > options.most_hasty:
        return f"gave {hasty} of {len(answers)} answers in less than {options.least_seconds:g} s"
    return ""


def _agreement(worker: str, by_worker: Mapping[str, Mapping[str, Answer]], asked: Iterable[str]) -> float | None:
    """Share of a worker's answers that are what most others said, or one of the things that as many said."""
    agrees = []
    for name in asked:
        own = by_worker[worker].get(name)
        others = [answers[name] for other, answers in by_worker.items() if other != worker and name in answers]
        if own is not None and len(others) >= _OTHERS:
            for question in QUESTIONS:
                said = Counter(getattr(one, question) for one in others)
                agrees.append(said[getattr(own, question)] == max(said.values()))
    return sum(agrees) / len(agrees) if agrees else None


def _votes(name: str, by_worker: Mapping[str, Mapping[str, Answer]]) -> list[Answer]:
    return [answers[name] for _, answers in sorted(by_worker.items()) if name in answers]


def _question(what: str, votes: Sequence[tuple[Pair, list[Answer]]], key: Key) -> Question:
    wins: Counter[str] = Counter()
    counted: Counter[str] = Counter(dict.fromkeys((*key.models, *(["neither"] if what == "matches" else [])), 0))
    for pair, answers in votes:
        said = Counter(_names(what, pair, answers, key))
        counted.update(said)
        winner, most = max(sorted(said.items()), key=lambda one: one[1])
        wins[winner if 2 * most > len(answers) and winner in key.models else "tie"] += 1

    def share(count: int) -> Share:
        return Share(count, count / len(votes) if votes else 0.0, *interval(count, len(votes)))

    return Question({model: share(wins[model]) for model in key.models}, share(wins["tie"]), dict(counted))


def _names(what: str, pair: Pair, answers: Iterable[Answer], key: Key) -> Iterator[str]:
    """What was said, with the model's name for the side."""
    for answer in answers:
        said = answer.realistic if what == "realistic" else answer.matches
        yield key.models[pair.models[said]] if said in pair.models else said
