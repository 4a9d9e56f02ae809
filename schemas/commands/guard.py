"""From a command's first import on: signals end it in time, and what it leaves in temporary folders goes with it.

    from schemas.commands.guard import begin_guarded

    if __name__ == "__main__":
        begin_guarded("pipelines.ingest")  # before the imports below, which take seconds

A command that is to end within five seconds cannot answer for that itself: it may be inside a library that comes back
after minutes, and after a SIGKILL nothing of it answers at all. So a small process of its own, the guard, is forked off
before anything is imported, and waits. The kernel's handler of a signal writes to it at once, whatever Python is doing
(`signal.set_wakeup_fd`). If the command has not ended when its time is up, the guard ends it and all its processes. And
however the command ends, the guard takes its temporary folder away, the only place outside the output folder where its
processes leave anything. Standard output stays open in the guard until that is done.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a command to end."""
SECONDS = 3.0
"""Within which a command ends by itself after such a signal."""
PREFIX = "dalle-"
"""Of a command's temporary folder."""

_NOT_WORTH_A_WORD = "ignore:resource_tracker:UserWarning"
"""What `multiprocessing` says, after the command's end, of semaphores that it then takes away."""

_PATIENCE_ASKED, _STEP = 128, 5.0
"""What a command writes to its guard, beside the numbers of signals: this and how many times five seconds it needs."""
_ABANDONED_AFTER = 60.0
"""Seconds from which a temporary folder that nobody holds was left by a command and a guard that both were killed."""
_LAST_WORDS = 0.3
"""Seconds between a signal that ends a process and SIGKILL."""
_PATIENCE = 10.0
"""Seconds for which the temporary folder is removed again and again."""

_name = ""
_folder = ""
_line = -1
_command = 0


def begin_guarded(name: str) -> None:
    """Guard this process, which is a command and has no threads yet.

    Args:
        name: how it is called, for what is said where the command itself does not answer to a signal, or not yet.
    """
    global _name, _folder, _line, _command
    _name = name
    open_standard_streams()
    if not sys.platform.startswith("linux"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), _NOT_WORTH_A_WORD)))
    try:
        _folder = _temporary_folder()
    except OSError as error:
        _say(f"{name}: there is no temporary folder to work in ({error.strerror or error}); TMPDIR names one")
        os._exit(1)
    heard, _line = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _command = os.getpid()
    _fork_guard(heard)
    os.close(heard)
    signal.set_wakeup_fd(_line, warn_on_full_buffer=False)

    def end(number: int, _frame: object) -> None:
        _say_as_one(f"{name}: stopped before it began")
        end_at_once(128 + number)

    for number in STOPS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            answer(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    import atexit  # not before the signals are held

    atexit.register(_leave)


def answer(number: int, handler: object) -> object:
    """Have a signal answered once; what comes after it ends the process in the kernel's own way. Gives the old handler.

    So whoever asks twice is not asked to wait, and the guard has a way to end a command with the signal's own code.
    """
    before = signal.signal(number, handler)  # type: ignore[arg-type]
    with suppress(AttributeError, OSError):  # a C library without it: then the guard kills
        import ctypes

        once = ctypes.CDLL(None).sysv_signal  # as `signal`, but for one signal
        once.restype, once.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
        once(number, once(number, None))
    return before


def is_guarded() -> bool:
    """Whether this very process is a command that has a guard."""
    return _command == os.getpid()


def ask_for_patience(seconds: float) -> None:
    """Have the guard wait so long, from now on, for what would be lost to be written."""
    if is_guarded() and seconds > SECONDS:
        os.write(_line, bytes([min(_PATIENCE_ASKED + int(seconds // _STEP) + 1, 255)]))


def end_at_once(code: int) -> NoReturn:
    """End this process without waiting for threads, or for what libraries want done at its end."""
    _leave()
    os._exit(code)


def open_standard_streams() -> None:
    """Make sure that input, output and errors are open: a dataset's file would take a closed one's number.

    What a library writes to its standard error would then go into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _leave() -> None:
    if is_guarded():
        _remove(_folder)


def _say_as_one(sentence: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of those that torchrun started the first says it
        _say(sentence)


def _say(sentence: str) -> None:
    with suppress(OSError):
        os.write(2, (sentence + "\n").encode())


def _temporary_folder() -> str:
    """A folder of this command's own, from now on that of all its processes; it is held as long as one of them lives.

    Raises:
        OSError: if there is no room for one anywhere.
    """
    import fcntl
    import tempfile

    root = tempfile.gettempdir()
    _sweep(root)
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=root)
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    return folder


def _sweep(root: str) -> None:
    """Remove what commands left that were killed together with their guards, as when a machine loses its power."""
    import fcntl

    for entry in os.scandir(root):
        with suppress(OSError):  # it is held, or was removed by another command
            status = entry.stat(follow_symlinks=False)
            old = time.time() - status.st_mtime > _ABANDONED_AFTER
            if not entry.name.startswith(PREFIX) or not old or status.st_uid != os.getuid():
                continue
            held = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(entry.path)
            finally:
                os.close(held)


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _fork_guard(heard: int) -> None:
    """Fork the guard, which is nobody's child and in nobody's group: what is sent to the command is not sent to it."""
    try:
        first = os.fork()
    except OSError:  # no process more is allowed: the command does without
        return
    if first:
        os.waitpid(first, 0)
        return
    try:
        os.setsid()
        os.close(_line)
        if os.fork() == 0:
            _guard(heard)
    finally:
        os._exit(0)


def _guard(heard: int) -> None:
    """Wait for the command's end, or bring it about."""
    import select

    ended = os.pidfd_open(_command)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(heard, select.POLLIN)
    until, asked = float("inf"), 0
    while time.monotonic() < until:
        ready = {descriptor for descriptor, _ in poll.poll(min(max(until - time.monotonic(), 0), 3600) * 1000)}
        if ended in ready:
            break
        if heard in ready:
            words = os.read(heard, 512)
            if not words:
                poll.unregister(heard)
            for word in words:
                if word >= _PATIENCE_ASKED:
                    until = time.monotonic() + (word - _PATIENCE_ASKED) * _STEP
                elif word in STOPS and not asked:
                    until, asked = time.monotonic() + SECONDS, word
                    import schemas.commands.processes  # noqa: F401  what will be needed if it does not end by itself
    else:
        _end_command(asked or signal.SIGTERM, ended)
    patience = time.monotonic() + _PATIENCE
    while os.path.exists(_folder) and time.monotonic() < patience:
        _remove(_folder)
        time.sleep(0.05)  # and again, where one of its processes is about to end and still writes


def _end_command(number: int, ended: int) -> None:
    """End it by the signal that it did not answer, and all below it first, while it can start nothing."""
    import select

    from schemas.commands.processes import kill_below

    os.kill(_command, signal.SIGSTOP)
    kill_below(_command, wait=False)
    _remove(_folder)
    _say_as_one(f"{_name}: stopped; it was ended, for it did not end by itself in time")
    for each in (number, signal.SIGCONT):
        os.kill(_command, each)
    if not select.select([ended], [], [], _LAST_WORDS)[0]:
        os.kill(_command, signal.SIGKILL)
