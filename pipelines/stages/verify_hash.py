"""Hashes of the fetched bytes: stored beside the picture, and compared with the list's; img2dataset's options."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines.lists.rows import ROWS
from schemas.options import words_of
from schemas.pairs import LEDGER
from schemas.reasons import NotKept

HashName = Literal["md5", "sha256", "sha512"]
_KINDS = get_args(HashName)


@dataclass(frozen=True, kw_only=True)
class HashOptions:
    """Hashes of the fetched bytes."""

    compute_hash: HashName | None = "sha256"
    """Hash of the fetched bytes to store. sha256 is in the ledger whatever is said here; md5 and sha512 are columns of
    their own, after the list's."""
    verify_hash: tuple[str, ...] = ()
    """COLUMN TYPE: the list's column that holds a hash of each picture's bytes, and its type, md5, sha256 or sha512. A
    picture with another hash fails as hash-mismatch; rows without one are not checked. By default nothing is
    checked."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        words = words_of("--verify_hash", self.verify_hash)
        object.__setattr__(self, "verify_hash", words)
        if words and (len(words) != 2 or words[1] not in _KINDS):
            raise ValueError(f"--verify_hash {' '.join(words)}: expected a column and one of {', '.join(_KINDS)}")
        if words and words[0] in ROWS.names:
            raise ValueError(f"--verify_hash {' '.join(words)}: {words[0]} is no column of sums")

    @property
    def column(self) -> str | None:
        """The list's column with the hashes to compare with, if there is one."""
        return self.verify_hash[0] if self.verify_hash else None

    @property
    def extra(self) -> str | None:
        """The column that is stored beyond the ledger's own."""
        return self.compute_hash if self.compute_hash not in LEDGER.names else None

    def computed(self, data: bytes) -> dict[str, str]:
        """The additional column of a picture with these bytes."""
        return {self.extra: hashlib.new(self.extra, data).hexdigest()} if self.extra else {}

    def mismatch(self, data: bytes, row: Mapping[str, Any]) -> NotKept | None:
        """Why these bytes are not what the list says of the row, if so."""
        expected = "" if self.column is None else str(row.get(self.column) or "").strip().lower()
        if not expected:
            return None
        computed = hashlib.new(self.verify_hash[1], data).hexdigest()
        if computed == expected:
            return None
        return NotKept("hash-mismatch", f"{self.verify_hash[1]} is {computed}, the list says {expected[:128]}")
