"""Pieces of work that do not depend on each other, each wholly on one thread of torch's.

A thread that goes on with its own piece never waits for the others after each small operation, and finds its numbers in
its own core's cache. Nothing of a result depends on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def for_each(work: Callable[[T], None], pieces: Iterable[T], device: torch.device) -> None:
    """Do some work for each piece, without recording it for a gradient and without autocast.

    On a processor by as many threads as torch has here; elsewhere in turn, for there it only hands work out.

    Args:
        work: writes its result to a place of its own.
        pieces: what it is done for.
        device: where it computes.
    """
    pieces, threads, inference = list(pieces), torch.get_num_threads(), torch.is_inference_mode_enabled()

    def do(piece: T) -> None:
        # each thread has modes of its own, and begins with those of a fresh process
        with torch.inference_mode() if inference else torch.no_grad(), torch.autocast(device.type, enabled=False):
            work(piece)

    if threads == 1 or len(pieces) == 1 or device.type != "cpu":
        for piece in pieces:
            do(piece)
        return
    # threads that live on would be missing after a fork; to start some is nothing beside a layer
    with ThreadPoolExecutor(min(threads, len(pieces)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for _ in pool.map(do, pieces):
                pass
        finally:
            torch.set_num_threads(threads)  # a thread's count is its own, but new threads begin with what was set last
