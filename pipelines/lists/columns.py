"""Which columns of a list are read: all that a reader of lists has to know of `ListOptions`."""

from __future__ import annotations

from dataclasses import dataclass


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
