"""How `pipelines.audit` looks at examples a second time: its flags, and where the contact sheet goes.

They are apart from the work itself, whose libraries take seconds to load: most audits are of pairs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from schemas.folder import Folder
from schemas.output_place import check_can_be_made
from schemas.ranges import MOST_SEED, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """How a sample of examples is made again (for datasets of examples)."""

    input_folder: str | None = None
    """The pairs that the examples were made from; without it nothing is made again."""
    vocabulary: str = "builtin"
    """The one that the examples were made with, as pipelines.encode takes it."""
    dvae: str = "builtin"
    """The one that the examples were made with, as pipelines.encode takes it."""
    sample: int = 16
    """Examples that are made again, 0 or more; all if there are fewer."""
    seed: int = 0
    """Seed of the sample, 0 to 18,446,744,073,709,551,615."""
    contact_sheet: str | None = None
    """Where the sheet goes, originals beside their decoded codes; FOLDER-contact-sheet.png by default."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"sample": Between(0, MOST_SEED), "seed": Between(0, MOST_SEED)})


def check_sheet(folder: Folder, options: ReviewOptions) -> None:
    """Check that the contact sheet can be written.

    Raises:
        ValueError: if it cannot, or would be written over a folder.
    """
    sheet = sheet_of(folder, options)
    above, name = place_of(sheet)
    check_can_be_made(above, "give another --contact_sheet")
    if above.is_local and os.path.isdir(above.path(name)):
        raise ValueError(f"--contact_sheet {sheet}: is a folder; give a name for a picture in it")
    if not name.endswith(".png"):
        raise ValueError(f"--contact_sheet {sheet}: is to be a PNG; give a name that ends in .png")


def place_of(sheet: str) -> tuple[Folder, str]:
    """The folder in which a contact sheet goes, and its name there."""
    above, slash, name = sheet.rpartition("/")
    return Folder(above or slash or "."), name


def sheet_of(folder: Folder, options: ReviewOptions) -> str:
    """Path or URL of the contact sheet."""
    return options.contact_sheet or f"{str(folder).rstrip('/')}-contact-sheet.png"
