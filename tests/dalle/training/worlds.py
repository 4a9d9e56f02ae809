"""Processes that train together, forked from one program that has imported what they need: torch takes seconds.

    python -m tests.dalle.training.worlds '[["train_as_one", 4, 2], …]'

Each entry names a function of `tests.dalle.training.sharded_work`, how many processes do it, and what else it is given.
Prints one line of JSON for each: its exit codes and what the first process returned; what a process prints goes to
standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def world(count: int, work: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Have so many processes do some work as ranks of one group; exit codes, and what each returned."""
    port, running = free_port(), []
    for rank in range(count):
        reads, writes = os.pipe()
        if child := os.fork():
            os.close(writes)
            running.append((child, reads))
            continue
        os.close(reads)
        os.dup2(2, 1)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
        _end_after(work, arguments, writes)
    returned = [_all_of(reads) for _, reads in running]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _ in running]
    return {"codes": codes, "returned": returned}


def _end_after(work: Callable[..., Any], arguments: tuple[Any, ...], writes: int) -> None:
    code = 1
    try:
        value = work(*arguments)
        code = value if isinstance(value, int) and not isinstance(value, bool) else 0
        os.write(writes, json.dumps(value).encode())
    except BaseException:  # noqa: BLE001  this process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _all_of(reads: int) -> Any:
    content = b""
    while some := os.read(reads, 1 << 16):
        content += some
    os.close(reads)
    return json.loads(content) if content else None


def main(entries: list[list[Any]]) -> None:
    """One world after the other."""
    importlib.import_module("torch._dynamo")  # what torch would import in each process, which takes a second

    from tests.dalle.training import sharded_work

    torch.set_num_threads(1)
    for name, count, *arguments in entries:
        print(json.dumps(world(count, getattr(sharded_work, name), *arguments)), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
