"""The sentence in what a runner says when it gives up: an exception of a worker comes back as a text, trace and all."""

from __future__ import annotations

import re

from schemas.commands.ending import STORES, in_words

_TRACE = "Traceback (most recent call last):"
_RAISED = re.compile(r"^((?:[A-Za-z_]\w*\.)*)(\w*(?:Error|Exception|Timeout|Failed))(?:: (.*))?$", re.DOTALL)
_WHERE = re.compile(r"\s*\[while running '[^']*'\]")
_ERRNO = re.compile(r"^\[Errno (\d+)\] (.*?)(?:: (?:'([^']*)'|\"([^\"]*)\"))?$", re.DOTALL)
_SELF_EXPLAINING = ("RuntimeError", "ValueError", "OSError")
_LONGEST = 600
"""Characters of a sentence that are shown."""


def cause_of(error: BaseException) -> str:
    """What made a runner give up, in one line without a trace.

    >>> trace = "Traceback (most recent call last):\\n  File ...\\n"
    >>> cause_of(RuntimeError(trace + "OSError: [Errno 28] No space left on device: '/a'"))
    '/a: No space left on device'
    """
    text = _WHERE.sub("", str(error)).strip()
    if _TRACE in text:
        text = _last_raised(text)
    if match := _RAISED.match(text):
        text = _sentence(*match.groups(default=""))
    return " ".join(text.split())[:_LONGEST] or type(error).__name__


def _last_raised(text: str) -> str:
    """What stands below the frames of the last trace: the exception, over as many lines as it has."""
    raised: list[str] = []
    for line in text.rpartition(_TRACE)[2].splitlines():
        if raised and not line.strip():
            break
        if raised or (line.strip() and not line[0].isspace()):
            raised.append(line)
    return "\n".join(raised)


def _sentence(package: str, kind: str, message: str) -> str:
    if match := _ERRNO.match(message):
        number, says, *names = match.groups(default="")
        return in_words(int(number), says, "".join(names))
    if kind == "RuntimeError" and (match := _RAISED.match(message)) and match[3]:  # an error that Beam wrapped
        return _sentence(*match.groups(default=""))
    if package.partition(".")[0] in STORES:
        return f"the store failed: {kind}: {message}"
    return message if message and kind in _SELF_EXPLAINING else f"{kind}: {message}".rstrip(": ")
