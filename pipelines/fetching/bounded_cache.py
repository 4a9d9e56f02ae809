"""What a worker remembers of sites and names: as much as fits into so many bytes; what was used last stays longest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """A dictionary that several threads may use, bounded by what its values cost.

    Args:
        most: what all values together may cost, in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.cost = 0
        """Of all that is remembered, in bytes; never more than `most`."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """What is remembered; None if nothing is."""
        with self._lock:
            entry = self._values.get(key)
            if entry is None:
                return None
            self._values.move_to_end(key)
            return entry[0]

    def put(self, key: Key, value: Value, cost: int) -> None:
        """Remember it in place of what was there; what costs more than the whole cache may is forgotten at once."""
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, cost)
            self.cost += cost - before
            while self.cost > self._most:
                _, (_, freed) = self._values.popitem(last=False)
                self.cost -= freed
