"""The commands of a flow in their turn: each as one would type it, its output passed through, its end waited for.

A signal that asks the flow to end goes to the command that runs, once, and that ends as it promises by itself: so each
command runs in a group of processes of its own, where a terminal's Ctrl-C does not reach it a second time.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from pipelines.chain.sections import Section
from schemas.commands.ending import CommandFailed
from schemas.commands.guard import STOPS, ask_for_patience
from schemas.commands.processes import die_with_parent
from schemas.commands.stopping import Stopped
from schemas.exit_codes import stopped_by

_PATIENCE = 600.0
"""Seconds that a command may take to end by itself, such as to write a checkpoint; it has a guard of its own."""


def run(section: Section) -> int:
    """Run a command to its end; gives its exit code.

    Raises:
        Stopped: if a signal asked the flow to end, and the command had ended well all the same.
        CommandFailed: if another signal ended it, which cannot say so.
    """
    sys.stdout.flush()
    command = [sys.executable, "-m", section.command, *section.words]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=die_with_parent,
    )
    with _handing_on(process) as asked:
        code = process.wait()
    if asked:
        if code == 0:
            raise Stopped(asked[0])
        return stopped_by(asked[0]) if code < 0 else code
    if code < 0:
        raise CommandFailed(
            f"[{section.name}] was ended by signal {-code}, as where memory runs out; the same command goes on from "
            "there"
        )
    return code


@contextlib.contextmanager
def _handing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Inside the block a signal that asks to end goes to a process; gives the signals that came."""
    asked: list[int] = []

    def hand_on(number: int, _frame: object) -> None:
        if not asked:
            ask_for_patience(_PATIENCE)
            process.send_signal(number)
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as under nohup
                signal.signal(number, hand_on)
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
