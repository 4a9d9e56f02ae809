"""How a command ends: its work done or not, in one sentence and with the exit code that this deserves.

Whatever work raises is named here once, for the pipelines and the trainings alike. After a signal asked a command to
end, what else goes wrong, because processes are gone that somebody waited for, is not worth a word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace

from schemas.addresses import address_of, advice_of
from schemas.commands.guard import end_at_once, is_guarded
from schemas.commands.one_voice import hold, is_one_of_many, is_said
from schemas.commands.printing import is_lost, one_line, streams
from schemas.commands.stopping import Stopped, answering, asked_to_stop, end_processes
from schemas.exit_codes import FAILED, OK, USAGE, stopped_by
from schemas.lock import FolderInUse

STORES = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")
"""Packages of object stores, whose errors are not all OSErrors."""
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
"""What their clients raise before anything was asked."""
_LITTLE = 1 << 20
"""Bytes below which a disk counts as full."""
_LONGEST = 300
"""Characters of what a store's package says."""
_ADVICE = {
    errno.EFBIG: "; ulimit -f says how large a file may become",
    errno.EMFILE: "; ulimit -n says how many may be open",
    errno.EDQUOT: "; quota says how much is allowed",
}
_LOOK = {
    FileNotFoundError: "look whether the path is right, seen from where the command runs",
    FileExistsError: "give another name, or take away what is there",
    NotADirectoryError: "look whether the path is right, for a part of it is a file",
    IsADirectoryError: "a file is expected there, and not a folder",
}
_MISTAKES = tuple(_LOOK)
"""What a name that a user gave wrongly raises; once a job has begun to write it is told as a failure of the job."""
_GOES_ON = "the same command goes on from there"


class CommandFailed(RuntimeError):
    """What was asked for could not be done; what it says is for the user."""


@dataclass(frozen=True, kw_only=True)
class CommandWords:
    """How a command speaks of itself."""

    name: str
    """How it is called, such as `pipelines.ingest`."""
    stopped: str = f"stopped; what is finished is safe, {_GOES_ON}"
    """What is said when a signal has ended it."""


def conclude(
    words: CommandWords, work: Callable[[], int], result_is_printed: Callable[[], bool] = lambda: False
) -> int:
    """Do the work of a command, say in one line why it failed if it did, and give its exit code.

    In a process that is guarded, which is a command of its own, it does not return: the process ends with the code.

    Args:
        words: of the command.
        work: gives the exit code.
        result_is_printed: whether what is printed is all that the work leaves; asked after it.

    Raises:
        SystemExit: after --help, or with 2 if a flag's value cannot be read.
        Exception: what is a fault of ours, with all it says; a guarded process prints that and ends.
    """
    with streams():
        code = _answered(words, work, result_is_printed)
        if code == OK and is_lost(sys.stdout) and result_is_printed():
            code = _say(words.name, "what it found could not be printed: standard output is closed or full", FAILED)
        if is_guarded():
            sys.stdout.flush()
            sys.stderr.flush()
            end_at_once(code)
    return code


def _answered(words: CommandWords, work: Callable[[], int], result_is_printed: Callable[[], bool]) -> int:
    def say_stopped(stopped: KeyboardInterrupt) -> int:
        return _say_stopped(replace(words, stopped="stopped") if result_is_printed() else words, stopped)

    try:
        with answering():
            try:
                code = work()
                sys.stdout.flush()
                return code
            except Exception as error:
                if (code_of_failure := _code_of(words, error)) is None:
                    raise
                return code_of_failure
            except KeyboardInterrupt as stopped:
                return say_stopped(stopped)
            finally:
                end_processes()
    except KeyboardInterrupt as stopped:  # while it was answering to something else
        return say_stopped(stopped)


def _say_stopped(words: CommandWords, stopped: KeyboardInterrupt) -> int:
    if not isinstance(stopped, Stopped):  # Python's own, for whoever calls from a thread
        stopped = Stopped()
    if not stopped.words and is_one_of_many():  # the first says it, or what it was that made torchrun end all
        return stopped_by(stopped.number)
    return _say(words.name, stopped.words or words.stopped, stopped_by(stopped.number))


def _code_of(words: CommandWords, error: Exception) -> int | None:
    """The exit code of a failure, once it is said what it was; None if it is a fault of ours and not guarded."""
    if number := asked_to_stop():
        return _say_stopped(words, Stopped(number))
    if isinstance(error, CommandFailed):
        return _say(words.name, str(error), FAILED)
    if isinstance(error, (ValueError, FolderInUse)):
        return _say(words.name, str(error), USAGE)
    if isinstance(error, _MISTAKES):
        return _say(words.name, f"{cause_outside(error)}; {_look(error)}", USAGE)
    if isinstance(error, ImportError):  # fsspec's, for a store whose package is not installed
        beside = "" if "install" in str(error).lower() else "; install that package beside this one"
        return _say(words.name, f"{_where(error)}{error}{beside}", USAGE)
    if cause := cause_outside(error):
        return _say(words.name, cause, FAILED)
    if not is_guarded():
        return None
    traceback.print_exception(error)
    return FAILED


def _look(error: OSError) -> str:
    """What a user may do about a mistake in a name."""
    return next(words for kind, words in _LOOK.items() if isinstance(error, kind))


def cause_outside(error: Exception) -> str:
    """What an error says that is no fault of ours: of the system, of a store, of memory. Nothing for any other."""
    if isinstance(error, OSError):
        if error.errno is None or not error.strerror:
            return f"{_where(error)}{_briefly(f'{type(error).__name__}: {error}')}".rstrip(": ") + advice_of(error)
        return in_words(error.errno, error.strerror, str(error.filename or address_of(error))) + advice_of(error)
    if isinstance(error, MemoryError) or _of_memory(error):
        return f"there is not enough memory; fewer processes need less, and what is finished is safe ({error})"
    if isinstance(error, BrokenExecutor):
        return "a worker process died, as it does when memory runs out: fewer processes need less"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system allows no further thread (ulimit -u); fewer processes need less"
    if type(error).__name__ in _NO_CREDENTIALS:
        return (
            f"{_where(error)}the store wants credentials, and none were found ({error}); give them as its own tools "
            "take them, in the environment or their configuration file"
        )
    if type(error).__module__.partition(".")[0] in STORES:
        return f"{_where(error)}the store failed ({_briefly(f'{type(error).__name__}: {error}')}); {_GOES_ON}"
    return ""


def _where(error: BaseException) -> str:
    return f"{address}: " if (address := address_of(error)) else ""


def _briefly(said: str) -> str:
    """A store's package may list all places where it looked for a library."""
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"


def _of_memory(error: Exception) -> bool:
    """Whether it is what torch raises where memory runs out, of the processor or of a GPU."""
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)


def in_words(number: int, says: str, name: str = "") -> str:
    """What the system says of a file, and where to look if it does not name one.

    Args:
        number: of the error.
        says: the system's words for it.
        name: of the file, if it is known.
    """
    if number == errno.ENOSPC and not name:
        full = tempfile.gettempdir()
        with contextlib.suppress(OSError):
            disk = os.statvfs(full)
            if disk.f_bavail * disk.f_frsize < _LITTLE:
                return f"{full}: {says}; TMPDIR names another folder for temporary files"
    return f"{name}: {says}" if name else f"{says}{_ADVICE.get(number, '')}"


def _say(name: str, message: str, code: int) -> int:
    sentence = f"{name}: {one_line(message)}"
    if not is_said(sentence):
        print(sentence, file=sys.stderr, flush=True)
        hold()
    return code
