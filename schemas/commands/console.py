"""Tables and bars: coloured on a terminal, 110 columns wide elsewhere, and printable whatever stands in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from schemas.commands.printing import printable, trusted

_WIDTH = 110


class PrintableConsole(Console):
    """A console whose texts cannot move its cursor, colour it or turn its direction; only rich can."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            each if each.control else Segment(printable(each.text, keep="\n"), each.style) for each in buffer
        )


def console(*, stderr: bool = False, **how: Any) -> Console:
    """A console on what is standard output, or standard error, now."""
    stream = trusted(sys.stderr if stderr else sys.stdout)
    plain = {"highlight": False, "markup": False, "emoji": False, **how}  # brackets and colons are what they are
    made = PrintableConsole(file=stream, **plain)
    return made if made.is_terminal else PrintableConsole(file=stream, width=_WIDTH, **plain)
