"""Which web of our own is drawn and served where no list is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.options import no_change_of_bytes
from schemas.ranges import Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class SampleWebOptions:
    """Which web of our own is drawn and served where no list is given."""

    sample_web: Literal["troubles", "dialect"] = no_change_of_bytes(default="troubles")
    """troubles: some 800 links with every trouble a list can have; dialect: thousands of simple scenes without any,
    which never show what the zero-shot trial asks for."""
    sample_rows: int = no_change_of_bytes(default=24_000)
    """Links of the dialect web, 1 to 10,000,000."""
    sample_folder: str | None = no_change_of_bytes(default=None)
    """Folder that the dialect web is drawn into; data/zero_shot/web by default."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"sample_rows": Between(1, 10_000_000)})
