"""By what examples of a dataset are told apart: hashes of their uids and of their pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dalle.reading.ragged import Lists


@dataclass(frozen=True)
class Identities:
    """By what examples are told apart."""

    uids: np.ndarray
    """[examples] uint64: hash of each uid."""
    pictures: Lists
    """Of each example hashes, uint64: of its picture, or of the codes of each of its crops."""


def hashes(contents: Iterable[bytes]) -> np.ndarray:
    """[n] uint64, uniform."""
    digests = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
