"""What this machine is short of, which is no server's fault: files, mostly. Links that meet it are sent again."""

from __future__ import annotations

import errno
import os

import pycurl

from pipelines.fetching.answer import Answer
from pipelines.fetching.transfers import Ended

_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
WAIT = 0.2
"""Seconds after which a link that met it is sent again."""
_LONGEST = 30.0
"""Seconds without one connection that could be opened after which the unit fails."""


class Shortage:
    """Of one loop."""

    def __init__(self) -> None:
        self._since: float | None = None

    def of(self, ended: Ended, answer: Answer) -> OSError | None:
        """What was short, if that is why a request failed."""
        if answer.connected:
            self._since = None
        if not ended.error or (answer.connected and ended.error != pycurl.E_COULDNT_CONNECT):
            return None
        if answer.shortage:
            return answer.shortage
        if ended.os_error in _ERRORS:
            return OSError(ended.os_error, os.strerror(ended.os_error))
        return None

    def met(self, error: OSError, now: float) -> None:
        """A link met it.

        Raises:
            OSError: if it has lasted too long.
        """
        self._since = self._since or now
        if now - self._since > _LONGEST:
            raise OSError(error.errno, f"{error.strerror}; links cannot be fetched (the limit is ulimit -n)") from error
