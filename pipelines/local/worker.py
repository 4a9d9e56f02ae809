"""A worker process of the local runner: Beam's own, but quiet, and ending with the command it works for.

Beam's worker would go on with its units after its driver was killed; this one ends within a second, and its unfinished
unit is done by the next run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from schemas.commands.processes import ignore_stops

_LOOK_EVERY = 0.2


def work(is_over: Callable[[float], bool]) -> None:
    """Serve the runner that the environment names, until it has no more to do.

    Args:
        is_over: waits some seconds and says whether the worker is to end at once.
    """
    threading.Thread(target=_end_when, args=(is_over,), name="watch-driver", daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what gRPC and codecs print when they are stopped
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _end_when(is_over: Callable[[float], bool]) -> None:
    while not is_over(_LOOK_EVERY):
        pass
    os._exit(1)


def main() -> None:
    """Run as a command of its own, which ends with its parent."""
    parent = os.getppid()
    ignore_stops()

    def is_over(seconds: float) -> bool:
        time.sleep(seconds)
        return os.getppid() != parent

    work(is_over)


if __name__ == "__main__":
    main()
