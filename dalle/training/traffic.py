"""What a process sends to others, counted at the calls, and how long it takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class Traffic:
    """What a process has sent to others, and how long it took, waiting for them included."""

    def __init__(self) -> None:
        self._bytes, self._seconds = 0, 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def sending(self, count: int, device: torch.device) -> Iterator[None]:
        """The block in which so many bytes are sent from a device."""
        self._bytes += count
        if device.type == "cuda":  # the call returns before anything is sent
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
        else:
            since = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - since

    def add(self, count: int, seconds: float = 0.0) -> None:
        """Bytes that were sent, in so many seconds; those that were sent while something was computed take none."""
        self._bytes += count
        self._seconds += seconds

    def take(self) -> tuple[int, float]:
        """Bytes and seconds since the last call; waits for what is still being sent."""
        for begin, end in self._events:
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000
        taken = self._bytes, self._seconds
        self._bytes, self._seconds, self._events = 0, 0.0, []
        return taken


class SentBySteps:
    """What the steps of a training send, and how much of their time that takes; nothing else that is sent is counted.

    Args:
        within: what is sent within a group of processes that hold the weights together.
        between: what is sent to other groups.
    """

    def __init__(self, within: Traffic, between: Traffic) -> None:
        self._traffics = {"within_group": within, "between_groups": between}
        self._clear()

    def _clear(self) -> None:
        self._bytes, self._seconds, self._steps = dict.fromkeys(self._traffics, 0), 0.0, 0

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """The block is a step."""
        for traffic in self._traffics.values():
            traffic.take()
        yield
        for name, traffic in self._traffics.items():
            sent, seconds = traffic.take()
            self._bytes[name] += sent
            self._seconds += seconds
        self._steps += 1

    def figures(self, seconds: float) -> dict[str, float]:
        """Bytes of a step, and the share of its time, for the log; counting begins anew.

        Args:
            seconds: that a step took on average.
        """
        steps = max(1, self._steps)
        sent = {f"bytes_sent/{name}": count / steps for name, count in self._bytes.items()}
        share = self._seconds / (steps * seconds)
        self._clear()
        return {**sent, "share_of_communication": share}
