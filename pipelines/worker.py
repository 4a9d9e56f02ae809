"""A worker process of the local runner: Beam's own, but quiet, and ending with the command it works for.

`pipelines.run` starts it. Beam's worker would go on with its units after its driver was killed; this one ends within
a second, and its unfinished unit is done by the next run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

_LOOK_EVERY = 0.2


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)


def main() -> None:
    """Serve the runner that the environment names."""
    threading.Thread(target=_end_with, args=(os.getppid(),), name="watch-driver", daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what gRPC and codecs print when they are stopped
    logging.basicConfig(handlers=[logging.NullHandler()])
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
