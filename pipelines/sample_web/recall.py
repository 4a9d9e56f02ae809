"""Say which of the planted copies of validation pictures were found, by what had been done to them."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.sample_web.making import SampleWeb
from schemas.commands.console import console as printable_console
from schemas.folder import Folder
from schemas.manifest import read_manifest
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet

EXACT = "none (the same file)"
"""What was done to an exact copy."""

_DENYLIST = "dedup/denylist.parquet"


def recall(web: SampleWeb, pairs: Folder, clean: Folder) -> dict[str, tuple[int, int]]:
    """By edit how many copies were among the collected pictures, and how many were found as the picture they are of."""
    keys: dict[str, str] = {}
    for shard in read_manifest(pairs)["shards"]:
        for row in read_parquet(pairs, f"{shard['name']}.parquet", ["key", "url", "status"]).to_pylist():
            if row["status"] == SUCCESS:
                keys[row["url"]] = row["key"]
    denylist = read_parquet(clean, _DENYLIST, ["key", "reference_set", "reference_id"]).to_pylist()
    denied = {row["key"]: row["reference_id"] for row in denylist if row["reference_set"] == "validation"}
    planted, removed = Counter[str](), Counter[str]()
    for page in web.planted():
        if page["trouble"].endswith("copy of a validation picture") and page["url"] in keys:
            edit = page["edit"] or EXACT
            planted[edit] += 1
            removed[edit] += denied.get(keys[page["url"]]) == page["of"]
    return {edit: (planted[edit], removed[edit]) for edit in sorted(planted)}


def print_recall(web: SampleWeb, pairs: Folder, clean: Folder, console: Console | None = None) -> None:
    """Print it as a table, with the sum."""
    console = console or printable_console()
    table = Table(
        title="copies of validation pictures, by edit", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("edit")
    for column in ("planted", "found", "recall"):
        table.add_column(column, justify="right")
    measured = recall(web, pairs, clean)
    total = [sum(counts) for counts in zip(*measured.values(), strict=True)] if measured else [0, 0]
    for edit, (planted, removed) in {**measured, "all": total}.items():
        table.add_row(edit, str(planted), str(removed), f"{100 * removed / max(planted, 1):.0f} %")
    console.print(table)
