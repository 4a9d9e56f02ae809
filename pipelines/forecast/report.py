"""Print what `--plan` found: what will be kept and lost, which links are dead, what it will take."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.forecast.estimate import Forecast
from pipelines.forecast.intervals import Estimate
from pipelines.forecast.probing import LEAST, MOST, SHARE
from pipelines.running.report import human_bytes
from schemas.commands.console import console as printable_console
from schemas.reasons import REASONS

_LEFT = {
    "read": "left after reading",
    "caption": "left after the caption's filters",
    "fetch": "left after fetching",
    "decode": "left after decoding",
    "image": "kept, after the picture's filters",
}


def print_forecast(forecast: Forecast, what: str, console: Console | None = None) -> None:
    """Print a forecast of a list that is called `what`."""
    console = console or printable_console()
    if forecast.probed == forecast.rows:
        few = f", fewer than {LEAST} and so" if forecast.rows < LEAST else ","
        how = f"all {forecast.rows:,} rows{few} probed whole: rows and bytes are counts, not estimates"
    else:
        drawn = f"drawn at random ({SHARE:.1%}, {LEAST} to {MOST:,} rows)"
        how = f"{forecast.probed:,} of {forecast.rows:,} rows probed, {drawn}"
    console.print(f"plan of {what}: {how}", markup=False, soft_wrap=True)
    console.print(_fates(forecast))
    if forecast.links:
        console.print(_links(forecast))
    console.print(_costs(forecast))
    shards, processes = _many(forecast.shards, "shard"), _many(forecast.processes, "worker process", "es")
    for line in (
        f"on this machine: {shards}, {processes}, held up by {forecast.held_up_by}",
        "what the line, the disk or the servers do when all workers ask at once cannot be told from a probe",
        "nothing was written; the same command without --plan collects the list",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _fates(forecast: Forecast) -> Table:
    table = _table("", "probed", "share", "95 %", "rows of the list", "95 %")
    table.add_row("rows", f"{forecast.probed:,}", "100 %", "", f"{forecast.rows:,}", "")
    reasons_of_links = {reason for reason, _, _ in forecast.rot}
    for stage, (count, share) in forecast.left.items():
        for loss in forecast.losses:
            if loss.stage == stage and loss.reason not in reasons_of_links:
                table.add_row(f"  {stage}: {loss.reason}", f"{loss.probed:,}", *_shares(loss.share, forecast.rows))
        style = "bold" if stage == "image" else ""
        table.add_row(Text(_LEFT[stage], style), f"{count:,}", *_shares(share, forecast.rows))
    return table


def _links(forecast: Forecast) -> Table:
    table = _table("pictures" if forecast.local else "links", "probed", "share", "95 %", "")
    table.add_row("asked for", f"{forecast.links:,}", "100 %", "", "")
    table.add_row("gave bytes", f"{forecast.working[0]:,}", *_shares(forecast.working[1])[:2], "")
    for reason, count, share in forecast.rot:
        table.add_row(f"  {reason}", f"{count:,}", *_shares(share)[:2], Text(REASONS[reason].meaning))
    return table


def _costs(forecast: Forecast) -> Table:
    table = _table("what it takes", "", "95 %")
    for name, estimate, spell in (
        ("tars", forecast.tars, human_bytes),
        ("ledgers", forecast.ledgers, human_bytes),
        ("disk in all", forecast.disk, human_bytes),
        ("to fetch", forecast.network, human_bytes),
        ("time at the measured rate", forecast.hours, human_hours),
    ):
        if estimate.high and not (forecast.local and name == "to fetch"):
            table.add_row(name, spell(estimate.value), _interval(estimate, spell))
    kept, hours = forecast.kept[1].times(forecast.rows), forecast.hours.value
    if hours:
        table.add_row("  that is", f"{kept.value / hours / 3600:,.1f} images/s kept", "")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right" if name else "left")
    return table


def _shares(share: Estimate, rows: int = 0) -> tuple[str, str, str, str]:
    """Share and its interval, and both as rows of the list."""
    many = share.times(rows)
    return (
        _percent(share.value),
        _interval(share, _percent),
        f"{many.value:,.0f}",
        _interval(many, lambda rows: f"{rows:,.0f}"),
    )


def _interval(estimate: Estimate, spell: Callable[[float], str]) -> str:
    return f"{spell(estimate.low)} - {spell(estimate.high)}" if estimate.low < estimate.high else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"


def _many(count: int, what: str, ending: str = "s") -> str:
    return f"{count:,} {what}{'' if count == 1 else ending}"


def human_hours(hours: float) -> str:
    """`2.4 h`, or the same in minutes or seconds where it is short, in days where it is long."""
    for unit, length in (("d", 48.0), ("h", 1.0), ("min", 1 / 60)):
        if hours >= length:
            return f"{hours / (24.0 if unit == 'd' else length):.3g} {unit}"
    return f"{hours * 3600:.2g} s"
