"""Say for each trouble planted in the sample web how many were caught, and how."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dalle.pictures.images import decode
from pipelines.sample_web.making import SampleWeb
from pipelines.sample_web.pictures import thumbnail, thumbnail_distance
from pipelines.sample_web.troubles import TROUBLES, Trouble
from schemas.commands.console import console as printable_console
from schemas.folder import Folder
from schemas.manifest import read_manifest
from schemas.matches import WITHIN_SET
from schemas.pair_shards import read_ledger, read_pictures
from schemas.pairs import SUCCESS
from schemas.shards import read_parquet

_DENYLIST = "dedup/denylist.parquet"
_LOOKS_RIGHT = 6.0
"""Grey levels by which an 8 x 8 thumbnail may differ: re-encoding moves it by about 1, a turn by 20 and more."""


def tally(web: SampleWeb, pairs: Folder) -> dict[str, tuple[int, Counter[str]]]:
    """For each trouble how many ended as they should, and what became of all of them."""
    rows, looks = _outcome(pairs)
    caught: dict[str, int] = defaultdict(int)
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    expected = {trouble.name: trouble for trouble in TROUBLES}
    because = _because(pairs)
    copies: dict[str, set[str]] = defaultdict(set)
    for planted in web.planted():
        if planted["of"]:
            copies[planted["of"]].add(rows[planted["url"]]["key"])
    for planted in web.planted():
        row = rows[planted["url"]]
        fate = str(row["reason"] or "kept")
        right = fate in expected[planted["trouble"]].caught_as
        if planted["of"] in rows and because.get(rows[planted["of"]]["key"]) == row["key"]:
            right, fate = True, "kept, the other goes"  # the larger or the first one stays, which may be the copy
        elif because.get(row["key"]) in copies[planted["url"]]:
            right, fate = True, f"{fate}, the other stays"
        elif not expected[planted["trouble"]].caught_as and row["status"] == SUCCESS:
            right = thumbnail_distance(looks[row["key"]], planted["looks"]) < _LOOKS_RIGHT
            fate = "kept, looks right" if right else "kept, looks wrong"
        caught[planted["trouble"]] += right
        fates[planted["trouble"]][fate] += 1
    return {name: (caught[name], fates[name]) for name in expected}


def print_tally(web: SampleWeb, pairs: Folder, console: Console | None = None, *, quiet: bool = False) -> None:
    """Print the tally as a table; if it is to be quiet, without what other jobs handle."""
    console = console or printable_console()
    table = Table(title="planted in the sample web", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column, justify in (("what", "left"), ("planted", "right"), ("caught", "right"), ("how", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    caught_by_trouble = tally(web, pairs)
    for trouble in TROUBLES:
        caught, fates = caught_by_trouble[trouble.name]
        if quiet and trouble.handled_by != "ingest":
            continue
        table.add_row(trouble.name, str(trouble.count), *_spell(trouble, caught, fates))
    console.print(table)


def _spell(trouble: Trouble, caught: int, fates: Counter[str]) -> tuple[str, str]:
    how = ", ".join(f"{fate} {n}" for fate, n in sorted(fates.items(), key=lambda f: (-f[1], f[0])))
    if trouble.handled_by == "ingest" or caught:
        return str(caught), how
    return "-", f"{trouble.handled_by} handles it ({how})"


def _because(pairs: Folder) -> dict[str, str]:
    """Of the pictures that went as copies inside the dataset, the one that stayed; by key."""
    if not pairs.exists(_DENYLIST):
        return {}
    denied = read_parquet(pairs, _DENYLIST, ["key", "reference_set", "reference_id"]).to_pylist()
    return {row["key"]: row["reference_id"] for row in denied if row["reference_set"] == WITHIN_SET}


def _outcome(pairs: Folder) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Ledger rows by URL, and thumbnails of the kept by key."""
    rows: dict[str, dict[str, Any]] = {}
    looks: dict[str, str] = {}
    for shard in read_manifest(pairs)["shards"]:
        for row in read_ledger(pairs, shard["name"]).to_pylist():
            rows[row["url"]] = row
        for key, _kind, data in read_pictures(pairs, shard["name"]):
            looks[key] = thumbnail(decode(data))
    return rows, looks
