"""The search for who stays, cell by cell, in rounds: again only where the first few greater pictures did not tell.

One round tells nearly everything: of a picture that is there many times all but the greatest go because of it. Another
is only for pictures whose first few greater ones are all gone, and only in the cells where there are more of these.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.copies.within.greater import SearchGreater, edges_of_groups, read_edges
from pipelines.copies.within.stars import judge, state_of, still_open
from pipelines.running.unit import Unit
from schemas.folder import Folder, Staging
from schemas.manifest import fingerprint

Search = Callable[[str, Sequence[Unit], SearchGreater], Folder]
"""Has units done by a work in a folder of this name; gives the folder."""


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What all rounds have in common."""

    work: SearchGreater
    """Of the first round."""
    units: Sequence[Unit]
    """One for each cell."""
    groups: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    """Pictures that are alike without a search, with the fields of `PICTURE`, in parts, and the group of each."""
    folder: Folder
    """Where files lie that units read."""
    search: Search

    def gone(self) -> np.ndarray:
        """The pictures that go, of type `COPY`, by number; by the threshold as far as is known here."""
        latest = dict.fromkeys(range(len(self.units)), self.search("cells", self.units, self.work))
        verdict = judge(functools.partial(self._edges, latest, None))
        parts = [verdict.gone]
        number = 0
        while len(verdict.unknown):
            number += 1
            state = state_of(np.concatenate([part["number"] for part in parts]), verdict.unknown)
            latest |= dict.fromkeys(*self._again(number, latest, state))
            verdict = judge(functools.partial(self._edges, latest, state))
            parts.append(verdict.gone)
        gone = np.concatenate(parts)
        return gone[np.argsort(gone["number"])]

    def _edges(self, latest: dict[int, Folder], state: np.ndarray | None) -> Iterator[np.ndarray]:
        """All edges there are, or in a later round those that still matter."""
        for cell, unit in enumerate(self.units):
            edges = read_edges(latest[cell], unit.shard)
            yield edges if state is None else still_open(edges, state)
        for pictures, groups in self.groups():
            if state is not None:
                there = ~np.isin(pictures["number"], state["number"][state["gone"]])
                pictures, groups = pictures[there], groups[there]
            edges = edges_of_groups(pictures, groups, self.work.apart)
            yield edges if state is None else still_open(edges, state)

    def _again(self, number: int, latest: dict[int, Folder], state: np.ndarray) -> tuple[list[int], Folder]:
        """Search those cells again in which pictures of which nothing is known may be like more greater ones."""
        unknown = state["number"][~state["gone"]]
        cells = [
            cell for cell, unit in enumerate(self.units) if _has_more(read_edges(latest[cell], unit.shard), unknown)
        ]
        name = f"state_{number}.npy"
        with Staging(self.folder) as staging:
            with staging.file(name) as file:
                np.lib.format.write_array(file, state, allow_pickle=False)
            staging.publish()
        made_from = hashlib.sha256(state.tobytes()).hexdigest()
        units = [
            replace(self.units[cell], fingerprint=fingerprint([self.units[cell].fingerprint, made_from]))
            for cell in cells
        ]
        return cells, self.search(f"cells_{number}", units, replace(self.work, state=(self.folder, name)))


def _has_more(edges: np.ndarray, unknown: np.ndarray) -> bool:
    return bool(np.isin(edges["number"][edges["last"]], unknown).any())
