"""Which columns of a list are read, and from what encoding: all that a reader has to know of `ListOptions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ListColumns:
    """The columns of a list that are read, by the names that the list gives them."""

    url_col: str = "url"
    """Column of the links."""
    caption_col: str = "caption"
    """Column of the captions."""
    save_additional_columns: tuple[str, ...] = ()
    """Columns that go into the ledger."""
    dataset: str | None = None
    """The preset that names the first two, if one does; for messages."""
    encoding: str | None = None
    """What text is in that has no byte order mark, by Python's name; None is UTF-8."""
    remarks: list[str] = field(default_factory=list, compare=False, repr=False)
    """What a user should know of what was read; readers add to it."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((self.url_col, self.caption_col, *self.save_additional_columns)))


def check_columns(names: Sequence[str], path: str, columns: ListColumns, wanted: Sequence[str] = ()) -> None:
    """Every column that is read must be there exactly once.

    Args:
        names: of the columns that are there.
        path: of the list, for messages.
        columns: which are read.
        wanted: which of these must be there; all, unless some are named.

    Raises:
        ValueError: naming the first that is not, those that are, and the flag.
    """
    flags = {columns.url_col: "--url_col", columns.caption_col: "--caption_col"}
    for name in wanted or columns.names:
        if list(names).count(name) > 1:
            raise ValueError(f"{path}: has the column '{name}' {list(names).count(name)} times; leave one of them")
        if name not in names:
            flag = flags.get(name, "--save_additional_columns or --verify_hash")
            advice = f"name the right one with {flag}"
            if columns.dataset and name in flags:  # a preset does not ask for their names
                advice = f"so it is not {columns.dataset}'s; give its own --dataset, or none and name its columns"
            raise ValueError(f"{path}: has no column '{name}'; its columns are {few_of(names)}; {advice}")


def few_of(names: Sequence[str]) -> str:
    """Names for a message, also where a file that is no list gives many or long ones."""
    shortened = [name if len(name) <= 40 else f"{name[:40]}…" for name in names[:30]]
    return ", ".join(shortened) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def header_again(fields: Sequence[str], header: Sequence[str], path: str, number: int) -> str:
    """What is wrong with a row that has the list's column names once more, as where files were joined, or nothing.

    Args:
        fields: of the row.
        header: the first record; empty if the list has none.
        path: of the list, for messages.
        number: of the row.

    Raises:
        ValueError: if they stand in another order, so that what follows would be read as what it is not.
    """
    if not fields or fields[0] not in header or len(fields) != len(header) or sorted(fields) != sorted(header):
        return ""
    if list(fields) != list(header):
        raise ValueError(
            f"{path}: row {number} has the column names once more, in another order, as where files were joined; give "
            "each file by itself"
        )
    return f"row {number}: has the column names once more, as where files were joined"
