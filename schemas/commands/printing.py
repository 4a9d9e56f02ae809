r"""What reaches a terminal or a text report: printable, whatever it was made from, and never in the way of the work.

    >>> printable("a host\x1b[2J, \u202egnp.exe")
    'a host\\x1b[2J, \\u202egnp.exe'

Names of hosts and files, captions and error messages come from anywhere. `printable` is the one place where they lose
what a terminal would obey and what makes text look like another; `streams` has everything pass through it that is
printed. Whoever wants colours writes to `trusted(...)` and answers for what he lets pass.

Standard output and standard error may be closed or on a full disk. What was to be printed is lost then; the work goes
on to its end, and its exit code is that of the work.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

_HARMLESS = "Zs"
"""Category of the spaces, such as the one that does not break, which Python does not call printable."""


def printable(text: str, keep: str = "") -> str:
    """The text with every character that is not seen as itself written as Python escapes it.

    Those are control and format characters (escape sequences, bidi marks, the soft hyphen, joiners), line separators,
    surrogates, and what is private or not assigned.

    Args:
        text: of any origin.
        keep: characters that pass all the same, such as the line feed.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep or unicodedata.category(c) == _HARMLESS else _escaped(c) for c in text
    )


def one_line(text: str) -> str:
    """The text in one printable line, its runs of white space single spaces."""
    return printable(" ".join(text.split()))


def counted(number: int, thing: str) -> str:
    """So many of a thing, in words.

    >>> counted(1, "pair"), counted(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def said_by(error: BaseException) -> str:
    """What an error says, in one line, as a person would say it: without its class, and of a name that is missing that.

    >>> said_by(KeyError("step")), said_by(ValueError("too long\n")), said_by(IndexError())
    ("'step' is missing", 'too long', 'IndexError')
    """
    words = one_line(str(error))
    return f"{words} is missing" if isinstance(error, KeyError) else words or type(error).__name__


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if character > "\x7f" else repr(character)[1:-1]


class Trusted(io.TextIOBase):
    """A standard stream that takes everything as it is; what it cannot write is lost, and it remembers that."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost = False
        """Whether anything could not be written."""

    def write(self, text: str) -> int:
        """Write it, if that is still possible; characters that the stream's encoding has not are escaped."""
        if self._stream is not None and not self.lost:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self.encoding or "ascii"
                return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError):  # who reads has gone, the disk is full, or the stream is closed
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        if self._stream is not None and not self.lost:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def _give_up(self) -> None:
        """Let what is buffered, and what else writes there, go nowhere: the interpreter fails if it cannot flush."""
        self.lost = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            assert self._stream is not None
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """The stream's descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> Any:  # type: ignore[override]  # of a base class that has it as a variable
        """The stream's."""
        return getattr(self._stream, "encoding", "utf-8")


class Printed(Trusted):
    """A standard stream that makes printable what it is given, all but line feeds."""

    def __init__(self, trusted: Trusted) -> None:
        super().__init__(None)
        self.trusted = trusted

    def write(self, text: str) -> int:
        """Write it, printable."""
        self.trusted.write(printable(text, keep="\n"))
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        self.trusted.flush()

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self.trusted.fileno()

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        """The stream's."""
        return self.trusted.encoding


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Inside the block standard output and standard error make printable what they are given, and never fail."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Printed(Trusted(stream)) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def coloured(words: Iterable[str]) -> Iterator[None]:
    """Inside the block, what is made of these words and of our own may be coloured, if the words are printable."""
    before = sys.stdout, sys.stderr
    if all(word.isprintable() for word in words):
        sys.stdout, sys.stderr = (trusted(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def trusted(stream: TextIO) -> TextIO:
    """The stream for what is printable already, with colours and moves of the cursor."""
    return stream.trusted if isinstance(stream, Printed) else stream  # type: ignore[return-value]


def is_lost(stream: TextIO) -> bool:
    """Whether something that was to be printed inside `streams` could not be."""
    stream.flush()
    return isinstance(stream, Printed) and stream.trusted.lost
