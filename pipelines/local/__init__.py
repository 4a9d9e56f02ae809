"""Beam's runner on this machine: its pipeline in the command's process, its workers in processes of their own.

`runner` makes it. `forking` has its workers forked from the command, which has imported everything already; without it
each worker is a new interpreter, as for a caller in a notebook or a test, who has threads by then.
"""

from pipelines.local.fork_server import forking
from pipelines.local.runner import has_workers, runner

__all__ = ["forking", "has_workers", "runner"]
