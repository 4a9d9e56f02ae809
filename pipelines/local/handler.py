"""What Beam's local runner knows of a worker process: how to start one, and what to do when one dies.

Beam's own for subprocesses waits for ever for what a dead worker owes; this one ends the run. And Beam tells a worker
to end over a connection that the worker may not have made yet, and then waits for it; here one that does not end is
ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from typing import Any, ClassVar

from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms.environments import Environment
from google.protobuf import json_format, text_format

from pipelines.local import fork_server

URN = "dalle-pipelines:env:local_worker:v1"

DIED = "a worker process died, as it does when memory runs out: fewer processes need less"

_AGAIN = 0.1
"""Seconds between telling the runner of a death, which may ask for more in the meantime."""
_GOODBYE = 10.0
"""Seconds that a worker has to end once the runner has no more to do; it has finished its units by then."""


@Environment.register_urn(URN, None)
class LocalWorkers(Environment):
    """Asks the local runner for workers of ours."""

    def to_runner_api_parameter(self, _context: Any) -> tuple[str, None]:
        """The name, and nothing else."""
        return URN, None

    @staticmethod
    def from_runner_api_parameter(_payload: None, *_: Any) -> LocalWorkers:
        """There is only one."""
        return LocalWorkers()

    @classmethod
    def from_options(cls, _options: Any) -> LocalWorkers:
        """None matters."""
        return cls()


@WorkerHandler.register_environment(URN, None)
class LocalWorker(GrpcWorkerHandler):
    """One worker process."""

    _lock = threading.Lock()
    _all: ClassVar[weakref.WeakSet[LocalWorker]] = weakref.WeakSet()

    def __init__(self, _payload: None, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._closed = threading.Event()

    def start_worker(self) -> None:
        """Fork it, or start an interpreter."""
        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
            ),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        self._process = fork_server.fork(environment) or _Started(environment)
        self._watching = threading.Thread(target=self._watch, name="watch-worker", daemon=True)
        with self._lock:
            self._all.add(self)
        self._watching.start()

    def stop_worker(self) -> None:
        """Wait for its end."""
        self._watching.join()

    def close(self) -> None:
        """Let it end, or end it."""
        self._closed.set()
        if self.control_conn._state == BeamFnControlServicer.UNSTARTED_STATE:
            self._process.kill()  # Beam tells only those that have connected
        goodbye = threading.Timer(_GOODBYE, self._process.kill)
        goodbye.daemon = True
        goodbye.start()
        super().close()
        goodbye.cancel()

    def _watch(self) -> None:
        if self._process.ends_well():
            return
        died = RuntimeError(DIED)
        while not self._closed.wait(_AGAIN):
            with self._lock:
                colleagues = [each for each in self._all if each._grpc_server is self._grpc_server]
            for each in colleagues:
                each._process.kill()
                with contextlib.suppress(RuntimeError):  # while the runner asks for something else: next time, then
                    each.control_conn.abort(died)


class _Started:
    """A worker that is an interpreter of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        heaps = {"MALLOC_ARENA_MAX": str(fork_server.HEAPS)}
        command = [sys.executable, "-m", "pipelines.local.worker"]
        self._process = subprocess.Popen(command, env={**heaps, **environment}, stdin=subprocess.DEVNULL)

    def ends_well(self) -> bool:
        """Wait for its end."""
        return self._process.wait() == 0

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
