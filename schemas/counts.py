"""How many rows met which fate; they have to add up to all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.pairs import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, REFUSED, REMOVED, STATUSES, SUCCESS


@dataclass
class Counts:
    """How many rows met which fate."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (stage, reason)."""

    @classmethod
    def of_ledger(cls, ledger: pa.Table) -> Counts:
        """Count a ledger's rows."""
        groups = ledger.select(["status", "stage", "reason"]).group_by(["status", "stage", "reason"])
        counts = cls()
        for row in groups.aggregate([([], "count_all")]).to_pylist():
            counts.statuses[row["status"]] += row["count_all"]
            if row["reason"] is not None:
                counts.reasons[row["stage"], row["reason"]] += row["count_all"]
        return counts

    @classmethod
    def all_kept(cls, rows: int) -> Counts:
        """So many rows, each kept."""
        return cls(Counter({SUCCESS: rows}))

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Counts:
        """The counts that `to_json` wrote."""
        reasons = {(stage, reason): n for stage, of in value["reasons"].items() for reason, n in of.items()}
        return cls(Counter({k: v for k, v in value["statuses"].items() if v}), Counter(reasons))

    def to_json(self) -> dict[str, Any]:
        """Every status, and the reasons by stage."""
        nested: dict[str, dict[str, int]] = {}
        for (stage, reason), n in self.reasons.items():
            nested.setdefault(stage, {})[reason] = n
        return {"rows": self.rows, "statuses": {s: self.statuses[s] for s in STATUSES}, "reasons": nested}

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.statuses + other.statuses, self.reasons + other.reasons)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.statuses.total()

    @property
    def kept(self) -> int:
        """Rows with a stored picture."""
        return self.statuses[SUCCESS]

    @property
    def refused(self) -> int:
        """Rows that a filter did not want."""
        return self.statuses[REFUSED]

    @property
    def failed(self) -> int:
        """Rows whose picture could not be had."""
        return self.statuses[FAILED_TO_DOWNLOAD] + self.statuses[FAILED_TO_RESIZE]

    @property
    def removed(self) -> int:
        """Rows that a later job took out."""
        return self.statuses[REMOVED]

    def check(self, rows: int, where: str) -> None:
        """Every input row must have met exactly one known fate.

        Raises:
            ValueError: if the sums do not add up.
        """
        lost = {s: n for s, n in self.statuses.items() if s not in STATUSES}
        if lost or self.rows != rows or self.reasons.total() != rows - self.kept:
            raise ValueError(
                f"{where}: kept {self.kept} + refused {self.refused} + failed {self.failed} + removed "
                f"{self.removed} with {self.reasons.total()} reasons (unknown: {lost}) should account for {rows} "
                "rows; this is a fault of the job, please report it"
            )
