"""How many captions were drawn rightly: one sample, the best of them, by what is asked for, beside chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from dalle.evaluation.study.binomial import interval
from dalle.scene_judge.agreement import Agreement, agreement
from dalle.scene_judge.verdicts import JudgedCaption, Originals

ATTRIBUTES = ("number", "kinds", "colours", "pairs", "relation", "background")


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many of so many."""

    count: int
    among: int

    @classmethod
    def of(cls, right: Iterable[bool]) -> Share:
        """How many of these are true."""
        values = list(right)
        return cls(count=sum(values), among=len(values))

    def to_json(self) -> dict[str, Any]:
        """With the 95 % interval of Clopper and Pearson."""
        low, high = interval(self.count, self.among)
        return {"right": self.count, "among": self.among, "interval": [round(low, 4), round(high, 4)]}

    def __str__(self) -> str:
        if not self.among:
            return ""
        low, high = interval(self.count, self.among)
        return f"{100 * self.count / self.among:.1f} % ({100 * low:.1f}–{100 * high:.1f})"  # noqa: RUF001


Shares = Mapping[str, Share]
"""By what is counted."""


def shares_of(captions: Sequence[JudgedCaption], originals: Originals | None) -> dict[str, Share]:
    """Captions all of which is right, by which of their samples is looked at.

    `chance` pairs each caption with the first sample of another one, half of them away.
    """
    samples = max((len(one.verdicts) for one in captions), default=1)
    shares = {"one sample": Share.of(one.verdicts[0].all for one in captions)}
    if samples > 1 and all(one.best is not None for one in captions):
        chosen = ((one, one.best) for one in captions)
        shares[f"best of {samples} by the contrastive model"] = Share.of(
            one.verdicts[best].all for one, best in chosen if best is not None
        )
    if samples > 1:
        shares[f"best of {samples} by the judge"] = Share.of(any(v.all for v in one.verdicts) for one in captions)
    shares["chance"] = Share.of(verdict.all for verdict in _mismatched(captions))
    if originals is not None:
        shares["true drawings"] = Share.of(verdict.all for verdict in originals.drawings)
        if originals.reconstructions:
            shares["their reconstructions (ceiling)"] = Share.of(v.all for v in originals.reconstructions)
    return shares


def attributes_of(captions: Sequence[JudgedCaption]) -> dict[str, Share]:
    """Of one sample each, by attribute."""
    first = [one.verdicts[0] for one in captions]
    return {name: Share.of(getattr(verdict, name) for verdict in first) for name in ATTRIBUTES}


def groups_of(captions: Sequence[JudgedCaption]) -> dict[str, dict[str, Share]]:
    """The same shares as `shares_of`, of captions that ask for the same."""
    groups: dict[str, list[JudgedCaption]] = {}
    for one in captions:
        groups.setdefault(one.group, []).append(one)
    return {name: shares_of(some, None) for name, some in groups.items()}


def _mismatched(captions: Sequence[JudgedCaption]) -> Iterator[Agreement]:
    half = max(1, len(captions) // 2)
    for index, one in enumerate(captions):
        other = captions[(index + half) % len(captions)]
        if other is not one:
            yield agreement(one.shown, other.said)


def tables(names: Sequence[str], shares: Mapping[str, Shares], attributes: Mapping[str, Shares]) -> Iterator[Table]:
    """A column for each set of captions."""
    for title, values in (("all attributes right", shares), ("one sample, by attribute", attributes)):
        table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
        table.add_column("")
        for name in names:
            table.add_column(name, justify="right")
        for line in dict.fromkeys(line for name in names for line in values[name]):
            table.add_row(line, *(str(values[name].get(line, "")) for name in names))
        yield table


def group_table(groups: Mapping[str, Mapping[str, Share]]) -> Table:
    """A line for each kind of captions."""
    columns = list(dict.fromkeys(name for shares in groups.values() for name in shares if name != "chance"))
    table = Table(title="by what is asked for", title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for group, shares in groups.items():
        table.add_row(group, *(str(shares.get(name, "")) for name in columns))
    return table


def to_json(value: Any, share: Callable[[Share], Any] = Share.to_json) -> Any:
    """Shares in mappings as JSON."""
    return share(value) if isinstance(value, Share) else {name: to_json(one, share) for name, one in value.items()}
