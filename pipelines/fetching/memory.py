"""How many fetched bytes lie in a worker's memory: what is being received, and what waits to be decoded.

Half of the bytes are for all together. A quarter is dealt out equally, so that each link in flight can take an ordinary
picture however many large ones come in; a link that needs more pauses until there is room, its clock with it. Where the
reader has taken all there is and still nobody has room, one of them goes on all the same, up to the largest picture
there may be, so that some link always ends.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Holder(Protocol):
    """What receives bytes."""

    size: int
    """Bytes that it has."""

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as is known."""
        ...


H = TypeVar("H", bound=Holder)


class Allowance(Generic[H]):
    """Says of each piece that arrives whether there is room for it.

    Args:
        most: bytes that may lie in memory, at least four times those of the largest picture.
        links: that may be in flight at once.
    """

    def __init__(self, most: int, links: int) -> None:
        self._for_all = most // 2
        self._for_each = most // 4 // links
        self._being_received = 0
        self._received = 0
        """Bytes that were given to the reader."""
        self.taken = 0
        """Bytes that the reader has taken; it alone counts them up, in its thread."""
        self._first: H | None = None
        self._paused: list[H] = []
        self._just_paused: list[H] = []
        self._going_on: set[H] = set()
        """Those that paused and go on."""
        self.peak = 0
        """Bytes that were held at most."""

    @property
    def held(self) -> int:
        """Bytes that lie in memory now."""
        return self._being_received + self._received - self.taken

    @property
    def has_room(self) -> bool:
        """Whether another link may begin."""
        return self.held < self._for_all

    @property
    def _needs_a_first(self) -> bool:
        return self._first is None and self._received == self.taken

    def admits(self, holder: H, more: int) -> bool:
        """Whether it may take so many bytes now; if not, it is to pause until `next_to_go_on` names it."""
        if holder.size + more > self._for_each and not self.has_room and self._first is not holder:
            if not self._needs_a_first:
                self._going_on.discard(holder)
                self._paused.append(holder)
                self._just_paused.append(holder)
                return False
            self._first = holder
        self._being_received += more
        self.peak = max(self.peak, self.held)
        return True

    def hand_over(self, holder: H, size: int) -> None:
        """Its bytes are the reader's from now on, so many of them."""
        self._being_received -= holder.size
        self._received += size
        self.end(holder)

    def release(self, holder: H) -> None:
        """All of its bytes go."""
        self._being_received -= holder.size
        self.end(holder)

    def end(self, holder: H) -> None:
        """Nothing more comes for it."""
        if self._first is holder:
            self._first = None
        self._going_on.discard(holder)
        if holder in self._paused:
            self._paused.remove(holder)
        if holder in self._just_paused:
            self._just_paused.remove(holder)

    def next_to_go_on(self) -> H | None:
        """One that paused and can go on, the nearest to its end; as many as are likely to find room for their rest."""
        if not self._paused or not (self.has_room or self._needs_a_first):
            return None
        holder = min(self._paused, key=lambda each: each.missing)
        promised = sum(each.missing for each in self._going_on)
        if self._going_on and self.held + promised + holder.missing > self._for_all:
            return None
        self._paused.remove(holder)
        self._going_on.add(holder)
        if not self.has_room:
            self._first = holder
        return holder

    def just_paused(self) -> list[H]:
        """Those that have paused since this was asked for the last time."""
        paused, self._just_paused = self._just_paused, []
        return paused
