"""A standalone Flink on this machine, and the pool of Python workers that it asks for; all end with their block."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SLOTS = 2
"""Of each task manager."""

_PATIENCE = 300.0
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_MEMORY = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_OPENED = ("java.base/java.lang", "java.base/java.net", "java.base/java.nio", "java.base/java.time",
           "java.base/java.util", "java.base/java.util.concurrent")  # fmt: skip
"""What Flink needs of Java 17, as its own scripts open it."""

_SETTINGS = """
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1200m
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.numberOfTaskSlots: {slots}
taskmanager.memory.process.size: 1400m
taskmanager.memory.managed.fraction: 0.1
heartbeat.interval: 2000
heartbeat.timeout: 60000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 30
restart-strategy.fixed-delay.delay: 1 s
io.tmp.dirs: {tmp}
"""
_LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n
"""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def settings(folder: Path) -> tuple[Path, int]:
    """A folder of Flink's settings for a cluster of its own on this machine, and the port of its REST interface."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    rest = free_port()
    text = _SETTINGS.format(rpc=free_port(), rest=rest, slots=SLOTS, tmp=folder / "tmp")
    (folder / "config.yaml").write_text(text)
    (folder / "log4j.properties").write_text(_LOGGING)
    return folder, rest


class Started:
    """Programs that were started together: each in a process group of its own, with a log, ended as one."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: list[subprocess.Popen[bytes]] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start one more."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until it is so.

        Raises:
            RuntimeError: if a program ended, or it took too long.
        """
        until = time.monotonic() + _PATIENCE
        while not ready():
            if dead := [p for p in self._processes if p.poll() not in (None, -signal.SIGKILL)]:
                raise RuntimeError(f"{what}: a program ended with {dead[0].returncode}; its log is in {self._logs}")
            if time.monotonic() > until:
                raise RuntimeError(f"{what}: not within {_PATIENCE:.0f} s; the logs are in {self._logs}")
            time.sleep(0.2)

    def close(self) -> None:
        """End all, workers that they started among them."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal_number)
            until = time.monotonic() + 5
            while any(p.poll() is None for p in self._processes) and time.monotonic() < until:
                time.sleep(0.05)


def start_pool(started: Started) -> str:
    """A pool of Python workers; gives what --environment_config needs."""
    port = free_port()
    started.start("pool", [sys.executable, "-m", "tests.flink.pool", str(port)])
    started.wait_for("the pool of workers", lambda: _listens(port))
    return f"localhost:{port}"


class Standalone:
    """One job manager and some task managers of two slots each.

    Args:
        started: where they are kept and ended.
        libraries: the folder of Flink's jars.
        place: for settings, temporary files.
    """

    def __init__(self, started: Started, libraries: Path, place: Path, task_managers: int = 2) -> None:
        self._started = started
        self._settings, self._rest = settings(place)
        self._libraries = libraries
        self._task_managers: list[subprocess.Popen[bytes]] = []
        self._java("job-manager", _JOB_MANAGER, "-Xmx768m")
        for _ in range(task_managers):
            self.add_task_manager()
        started.wait_for("the standalone Flink", lambda: task_managers == self.task_managers())

    @property
    def master(self) -> str:
        """What --flink_master needs."""
        return f"localhost:{self._rest}"

    def add_task_manager(self) -> None:
        """One more, which takes the place of one that was killed."""
        options, settings = self._memory()
        name = f"task-manager-{len(self._task_managers)}"
        self._task_managers.append(self._java(name, _TASK_MANAGER, *options, arguments=settings))

    def kill_task_manager(self) -> int:
        """SIGKILL to the oldest that lives; gives its process id."""
        victim = next(p for p in self._task_managers if p.poll() is None)
        victim.kill()
        victim.wait()
        return victim.pid

    def task_managers(self) -> int:
        """How many have registered."""
        with contextlib.suppress(OSError):
            return int(self.ask("overview")["taskmanagers"])
        return 0

    def jobs(self) -> dict[str, dict[str, Any]]:
        """What it did so far: by job id its name, state and seconds, and how often it was begun anew."""
        found = {}
        for job in self.ask("jobs/overview")["jobs"]:
            failures = self.ask(f"jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
            found[job["jid"]] = {
                "name": job["name"],
                "state": job["state"],
                "seconds": round(job["duration"] / 1000, 1),
                "restarts": len(failures) if job["state"] == "FINISHED" else 0,
            }
        return found

    def ask(self, what: str) -> Any:
        """What the REST interface answers."""
        with urllib.request.urlopen(f"http://localhost:{self._rest}/{what}", timeout=10) as answer:
            return json.load(answer)

    def _memory(self) -> tuple[list[str], list[str]]:
        """A task manager's Java options and settings, as Flink's own scripts work them out."""
        command = ["java", "-cp", self._classpath("bash-java-utils", "flink-dist", "log4j"), _MEMORY]
        done = subprocess.run(
            [*command, "GET_TM_RESOURCE_PARAMS", "--configDir", str(self._settings)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = [line.partition("BASH_JAVA_UTILS_EXEC_RESULT:")[2] for line in done.stdout.splitlines()]
        java, flink = [line.split() for line in lines if line]
        return java, flink

    def _java(self, name: str, program: str, *options: str, arguments: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        opened = [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED]
        logging = f"-Dlog4j.configurationFile={self._settings / 'log4j.properties'}"
        command = ["java", *options, *opened, logging, "-cp", self._classpath("flink-dist", "log4j"), program]
        return self._started.start(name, [*command, "--configDir", str(self._settings), *arguments])

    def _classpath(self, *prefixes: str) -> str:
        jars = sorted(jar for jar in self._libraries.glob("*.jar") if jar.name.startswith(prefixes))
        return os.pathsep.join(map(str, jars))


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1)
        return asking.connect_ex(("127.0.0.1", port)) == 0
