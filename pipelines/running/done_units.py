"""Which units are done: what a run skips, and what it reads at its end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipelines.running.unit import Unit
from schemas.folder import Folder
from schemas.manifest import Marker, fingerprint, marker_name


def is_done(folder: Folder, unit: Unit) -> bool:
    """Whether the unit's marker is there, is of this fingerprint, and its files have their sizes."""
    if not folder.exists(marker_name(unit.shard)):
        return False
    marker = Marker.read(folder, unit.shard)
    if marker.fingerprint != unit.fingerprint:
        return False
    try:
        return all(folder.size(f.name) == f.size for f in marker.files)
    except FileNotFoundError:
        return False


def undone(folder: Folder, units: Sequence[Unit]) -> list[Unit]:
    """The units that are still to do, in an order that spreads neighbours.

    Beam's local runner deals units out before it starts, so like neighbours (one host's links) must not all
    fall to one worker.
    """
    present = set(folder.names())
    with ThreadPoolExecutor(16) as pool:
        done = pool.map(lambda u: marker_name(u.shard) in present and is_done(folder, u), units)
        left = [unit for unit, is_ in zip(units, done, strict=True) if not is_]
    return sorted(left, key=lambda unit: fingerprint(unit.shard))


def read_markers(folder: Folder, units: Sequence[Unit]) -> list[Marker]:
    """The markers of all units.

    Raises:
        FileNotFoundError: if one has none.
    """
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda unit: Marker.read(folder, unit.shard), units))
