"""The table at a job's end: every input row with its fate, and how fast it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.commands.console import console as printable_console
from schemas.manifest import Counts
from schemas.matches import WITHIN
from schemas.pairs import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, REFUSED, REMOVED
from schemas.reasons import REASONS, STATUS_OF_STAGE, UNEXPECTED

_SHOWN = 8
"""Hosts that are shown."""
_FEW = 0.001
"""Share of all rows up to which those that fail unforeseen are no alarm."""
_EXAMPLES = 3
_WORTH_A_WORD = 0.01
"""Share of all rows from which a reason gets advice."""


def print_report(
    title: str, counts: Counts, facts: Mapping[str, Any], console: Console | None = None, *, quiet: bool = False
) -> None:
    """Print rows, kept, refused and failed by reason, then further facts (rate, bytes, where to look).

    Args:
        title: the job's name.
        counts: of all rows.
        facts: by their names; the last is where to look.
        console: to print on.
        quiet: all of it in a line.
    """
    console = console or printable_console()
    if quiet:
        fates = {"refused": counts.refused, "failed": counts.failed, "removed": counts.removed}
        parts = [f"{counts.kept:,} kept", *(f"{n:,} {name}" for name, n in fates.items() if n)]
        where = list(facts.values())[-1] if facts else ""
        line = f"  {title}: {counts.rows:,} rows, {', '.join(parts)}; {where}"
        console.print(line, markup=False, soft_wrap=True)
        return
    console.print(_fates(title, counts))
    for name, value in facts.items():
        console.print(f"  {name}: {value}", markup=False, soft_wrap=True)


def _fates(title: str, counts: Counts) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", show_header=False)
    table.add_column("what")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("meaning")

    def add(what: str, rows: int, meaning: str = "") -> None:
        table.add_row(what, f"{rows:,}", f"{100 * rows / max(counts.rows, 1):.1f} %", meaning)

    add("rows", counts.rows)
    add("kept", counts.kept)
    for heading, total, statuses in (
        ("refused", counts.refused, (REFUSED,)),
        ("failed", counts.failed, (FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE)),
        ("removed", counts.removed, (REMOVED,)),
    ):
        if total or REMOVED not in statuses:
            add(heading, total)
        reasons = [
            (n, stage, reason)
            for (stage, reason), n in counts.reasons.items()
            if STATUS_OF_STAGE.get(stage, REMOVED) in statuses
        ]
        for n, stage, reason in sorted(reasons, key=lambda entry: (-entry[0], entry[1:])):
            meaning = REASONS[reason].meaning if reason in REASONS else WITHIN.get(reason, "")
            add(f"  {stage}: {reason}", n, meaning)
    return table


def print_unexpected(counts: Counts, examples: Sequence[str], console: Console | None = None) -> None:
    """Print how many rows failed in a way that nobody foresaw, and how; to standard error if they are many."""
    rows = sum(n for (_, reason), n in counts.reasons.items() if reason == UNEXPECTED)
    if not rows:
        return
    many = rows > _FEW * counts.rows
    console = console or Console(stderr=many, highlight=False)
    loud = "more than one in a thousand; something is wrong with this program: " if many else ""
    style = "bold red" if many else ""
    message = f"{rows:,} of {counts.rows:,} rows failed in a way that nobody foresaw, {loud}the ledger has them as"
    console.print(f"  {message} {UNEXPECTED}", style=style, markup=False, soft_wrap=True)
    for text in sorted(set(examples))[:_EXAMPLES]:
        console.print(f"    such as {text}", style=style, markup=False, soft_wrap=True)


def print_failures(counts: Counts, worst: Counter[tuple[str, str]], console: Console | None = None) -> None:
    """Print which hosts failed most and why, and what can be done about the commonest reasons."""
    console = console or printable_console()
    by_host: dict[str, Counter[str]] = {}
    for (host, reason), n in worst.items():
        by_host.setdefault(host, Counter())[reason] += n
    ranked = sorted(by_host.items(), key=lambda entry: (-entry[1].total(), entry[0]))[:_SHOWN]
    if ranked:
        table = Table(
            title="hosts with the most failures", box=box.SIMPLE_HEAD, title_justify="left", show_header=False
        )
        table.add_column("host", overflow="fold", max_width=50)
        table.add_column("links", justify="right")
        table.add_column("reasons")
        for host, reasons in ranked:
            spelled = ", ".join(
                f"{r} {n:,}" for r, n in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
            )
            table.add_row(Text(host), f"{reasons.total():,}", spelled)
        console.print(table)
    common = [(n, reason) for (_, reason), n in counts.reasons.items() if n >= _WORTH_A_WORD * counts.rows]
    for _, reason in sorted(common, key=lambda entry: (-entry[0], entry[1])):
        if reason in REASONS and REASONS[reason].advice:
            console.print(f"  {reason}: {REASONS[reason].advice}", markup=False, soft_wrap=True)


def human_bytes(size: float) -> str:
    """`12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
