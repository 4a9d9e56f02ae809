"""Beam's pool of Python workers, for several task managers on one machine: `python -m tests.flink.pool PORT`.

Task managers number their workers alike, and know nothing of each other. Beam's own pool keeps workers by that number
alone, so a task manager that is done stops another's worker (apache_beam/runners/worker/worker_pool_main.py); it is
made for one task manager a machine. A worker ends by itself when its task manager closes the channel, so this pool
stops none while it runs.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


class Pool(BeamFnExternalWorkerPoolServicer):
    """Keeps each worker under a name of its own, and all of them until they or the pool end."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._numbers, self._one_at_a_time = itertools.count(), threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:
        """Start one; those that have ended are forgotten."""
        with self._one_at_a_time:
            answer = super().StartWorker(request, context)
            started = self._worker_processes.pop(request.worker_id, None)
            for name in [name for name, process in self._worker_processes.items() if process.poll() is not None]:
                del self._worker_processes[name]
            if started is not None:
                self._worker_processes[f"{request.worker_id} #{next(self._numbers)}"] = started
            return answer

    def StopWorker(self, request: Any, context: Any) -> Any:
        """Let it end by itself."""
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that Beam's own exit handler ends the workers
    _, server = Pool.start(use_process=True, port=int(sys.argv[1]))  # who lets go of it stops it
    signal.pause()
