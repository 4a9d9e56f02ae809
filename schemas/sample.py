"""Where the sample's datasets lie: the folders that a job takes if it is given none."""

from __future__ import annotations

from schemas.folder import Folder
from schemas.manifest import MANIFEST
from schemas.planning import NotThereYet, reads

SAMPLE = "data/sample"
PAIRS, CLEAN, VOCABULARY, EXAMPLES = (f"{SAMPLE}/{name}" for name in ("pairs", "clean", "vocab", "examples"))
DVAE, PRIOR, CONTRASTIVE = (f"{SAMPLE}/{name}" for name in ("dvae", "prior", "contrastive"))
ZERO_SHOT = "data/zero_shot"
DIALECT_WEB, DIALECT_PAIRS = (f"{ZERO_SHOT}/{name}" for name in ("web", "pairs"))

_MADE_BY = {PAIRS: "ingest", CLEAN: "dedup", VOCABULARY: "vocab", EXAMPLES: "encode"}


def is_there(folder: str) -> bool:
    """Whether a job has left this one of the sample's datasets here."""
    return Folder(folder).exists(MANIFEST)


def sample_folder(folder: str) -> str:
    """The very same folder.

    Raises:
        ValueError: if no job has left it here yet.
    """
    reads(folder)
    if not is_there(folder):
        first = f"python -m pipelines.{_MADE_BY[folder]}"
        raise NotThereYet(f"{folder}: no folder given, and the sample's is not there; run {first} first", folder)
    return folder
