"""torch on one thread, wherever the bytes of a dataset come out of it.

Sums of float32 (convolutions, matrix products) differ in their last bits between one thread and two, so codes and
vectors would depend on the machine. torch's number of threads belongs to the thread that sets it: setting it in one
leaves every other thread of the process as it was. So each unit asks for one thread where it computes, which holds
also where a runner (Flink's, for one) does several units in threads of one worker process; a number set once while a
worker is prepared would hold for that thread alone. A thread that has not used torch yet begins with the number that
was set last anywhere in the process. Workers have a core each, so that one thread costs nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread inside the block, for the calling thread alone; afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
