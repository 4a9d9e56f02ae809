"""Processes that `torchrun` started on one machine speak with one voice: what all of them have to say is said once.

torchrun ends the others as soon as one has failed. So whoever was the first to say a sentence holds its name, which the
kernel takes back with the process, for a moment longer than torchrun takes to notice; and what only tells that another
process failed gives that one's own words the time to come first.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time

_MOMENT = 0.5
"""Seconds; torchrun looks every tenth of one."""
_FIRST_WORDS = 2.0
"""Seconds for which a process that noticed another's end is silent."""


def is_one_of_many() -> bool:
    """Whether torchrun started this process beside the one that speaks first on this machine."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def is_said(sentence: str) -> bool:
    """Whether another process of this torchrun is saying the same; if none is, the name of the sentence is taken."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or not sys.platform.startswith("linux"):
        return False
    digest = hashlib.sha256(f"{os.getppid()} {sentence}".encode("utf-8", "surrogateescape")).hexdigest()
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0dalle-{digest}")
    except OSError:
        name.close()
        return True
    _names.append(name)
    return False


def hold() -> None:
    """Keep the names that were taken until torchrun must have noticed."""
    if _names:
        time.sleep(_MOMENT)


def let_others_speak() -> None:
    """Wait for torchrun to end this process, if it has nothing to say but that another has ended."""
    if is_one_of_many():
        time.sleep(_FIRST_WORDS)


_names: list[socket.socket] = []
