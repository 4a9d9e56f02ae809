"""The border of a row: what its own data raise becomes the row's fate; what the machine raises ends the unit.

Whatever is done to a row for the sake of its own data stands inside one. Bytes from the web are decoded in a process
of their own (`pipelines.work.decoding`), where there is neither disk nor store; out here an `OSError` that the system
gave, memory that ran out and whatever the package of a store raises say nothing of the row. They fail the unit, which
is done again by the same command, and name the row at which it happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from schemas.commands.ending import STORES
from schemas.reasons import UNEXPECTED, NotKept

_STORES = (*STORES, "requests", "urllib3")
"""With what some of them speak HTTP by: no row's own data are fetched with that."""
_LONGEST = 500
"""Characters of a message."""


@contextlib.contextmanager
def row_border(row: str, stage: str, give_up: Callable[[NotKept], None]) -> Iterator[None]:
    """Do inside the block what a row's data may upset.

    Args:
        row: what it is called, for errors of the machine.
        stage: one of `schemas.reasons.STATUS_OF_STAGE`.
        give_up: takes what is said of the row if they do.

    Raises:
        OSError, MemoryError, RuntimeError: if it was the machine; naming the row.
    """
    try:
        yield
    except Exception as error:
        if is_the_machines(error):
            raise at_row(error, row) from error
        give_up(unexpected(f"{type(error).__name__}: {error}", stage))


def unexpected(message: str, stage: str) -> NotKept:
    """What is said of a row whose data raised something that nobody foresaw."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split())[:_LONGEST])
    return NotKept(UNEXPECTED, text, stage)


def is_the_machines(error: BaseException) -> bool:
    """Whether it says nothing of the data that were worked on."""
    is_of_the_system = isinstance(error, OSError) and error.errno is not None
    return is_of_the_system or isinstance(error, MemoryError) or type(error).__module__.partition(".")[0] in _STORES


def at_row(error: Exception, row: str) -> Exception:
    """The same error, with the row at which it came."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, f"{error.strerror} (at the row {row})", error.filename)
    if isinstance(error, MemoryError):
        return MemoryError(f"at the row {row}: {error or 'memory ran out'}")
    return RuntimeError(f"at the row {row}: {type(error).__name__}: {error}")
