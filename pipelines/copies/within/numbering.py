"""Pictures by number: what a key says, in eight bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from schemas.shards import index_digits, sample_key

PICTURE = [("number", "<i8"), ("row", "<i4"), ("area", "<i8")]
"""A picture in these files: its number, its row among its shard's vectors, its original's area in pixels."""


@dataclass(frozen=True)
class Numbering:
    """Keys of a dataset to numbers in the same order, and back."""

    shards: tuple[str, ...]
    """In the order of the manifest."""
    digits: int
    """Of a picture's index in its shard."""

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Numbering:
        """That of a dataset of pairs."""
        names = tuple(shard["name"] for shard in manifest["shards"])
        return cls(names, index_digits(int(manifest["options"]["number_sample_per_shard"])))

    def numbers(self, shard: str, keys: Sequence[str]) -> np.ndarray:
        """[N] int64 of keys of one shard."""
        indices = np.array([key[len(shard) :] for key in keys], f"U{self.digits}").astype(np.int64)
        return self._number_of_shard[shard] * 10**self.digits + indices

    def number(self, key: str) -> int:
        """Of one key.

        Raises:
            KeyError: if no shard of the dataset has it.
        """
        shard = key[: -self.digits]
        if shard not in self._number_of_shard or not key[-self.digits :].isdigit():
            raise KeyError(key)
        return int(self.numbers(shard, [key])[0])

    def key(self, number: int) -> str:
        """The key of a number."""
        return sample_key(self.shards[number // 10**self.digits], number % 10**self.digits, self.digits)

    def shard_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """[N] which shard each is of, counted from 0; of [N] numbers."""
        return numbers // 10**self.digits

    @cached_property
    def _number_of_shard(self) -> dict[str, int]:
        return {shard: number for number, shard in enumerate(self.shards)}
