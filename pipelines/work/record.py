"""One row on its way through a unit: its ledger columns, and where its picture lies in the unit's spool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any, Self

import pyarrow as pa

from pipelines.lists.rows import LOCATION, ROWS
from pipelines.running.row_border import is_the_machines, unexpected
from pipelines.stages.filter import FilteredCaptions
from schemas.pairs import SUCCESS, uid
from schemas.reasons import NotKept


class Record:
    """A row whose fate is open until `keep` or `give_up`."""

    def __init__(self, index: int, columns: dict[str, Any]) -> None:
        self.index = index
        self.columns = columns
        self.listed = columns
        """What the list says of it, by column."""
        self.location: str | None = None
        """Of a local picture."""
        self._span = (0, 0)

    @classmethod
    def begin(
        cls, index: int, key: str, row: dict[str, Any], captions: FilteredCaptions, not_saved: str | None = None
    ) -> Self:
        """A row of the list; its column `not_saved` does not go into the ledger."""
        caption = next(iter(row["captions"] or ()), None)
        columns = {
            "key": key,
            "url": row["url"],
            "caption": caption,
            "text": captions.kept[0] if captions.kept else None,
            "captions": list(captions.kept),
            "language": captions.language and captions.language.code,
            "language_probability": captions.language and captions.language.probability,
            **dict.fromkeys(("status", "stage", "reason", "error_message")),
            "uid": uid(row["url"] or "", caption),
            **{name: value for name, value in row.items() if name not in ROWS.names and name != not_saved},
        }
        record = cls(index, columns)
        record.listed, record.location = row, row[LOCATION]
        if row["problem"]:
            record.give_up(NotKept("bad-row", row["problem"]))
        elif not (row["url"] or "").strip():
            record.give_up(NotKept("no-url"))
        elif captions.problem:
            record.give_up(captions.problem)
        return record

    @property
    def url(self) -> str:
        """Where its picture is."""
        return self.columns["url"] or ""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.columns['key']}, {self.url or self.location}"

    @property
    def is_open(self) -> bool:
        """Whether its fate is not known yet."""
        return self.columns.get("status") is None

    @property
    def status(self) -> str:
        """How it ended, in one of the ledger's words (`schemas.pairs.STATUSES`); only when its fate is known."""
        return str(self.columns["status"])

    def reopen(self) -> None:
        """Forget how it ended, to try once more."""
        self.columns |= dict.fromkeys(("status", "stage", "reason", "error_message"))

    def give_up(self, problem: NotKept) -> None:
        """It is not kept."""
        self.columns |= problem.columns()

    def keep(self, picture: bytes, spool: IO[bytes]) -> None:
        """It is kept, with this stored picture."""
        self._span = (spool.tell(), len(picture))
        spool.write(picture)
        self.columns["status"] = SUCCESS

    def stored(self, spool: IO[bytes]) -> bytes:
        """Its stored picture; only when nothing more is kept, because the spool is read where it lies."""
        start, size = self._span
        spool.seek(start)
        return spool.read(size)


def ledger_of(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """The ledger of rows; one whose values do not fit is given up, without those values."""
    try:
        return pa.Table.from_pylist([record.columns for record in records], schema=schema)
    except Exception as error:
        if is_the_machines(error):
            raise
    for record in records:
        for field in schema:
            try:
                pa.array([record.columns.get(field.name)], field.type)
            except Exception as error:  # noqa: BLE001  it is this row's
                record.columns[field.name] = None
                record.give_up(unexpected(f"column {field.name}: {type(error).__name__}: {error}", "decode"))
    return pa.Table.from_pylist([record.columns for record in records], schema=schema)
