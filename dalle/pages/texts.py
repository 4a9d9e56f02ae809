r"""Words of others on a page: as they are read, whatever characters they hold.

    >>> shown("a kite\x07 \u202egnp.exe\r\nabove", 100)
    'a kite\\x07 \\u202egnp.exe\nabove'
    >>> shown("a red kite", 6)
    'a red…'

That it is text, and nothing that a browser does, is seen to by whoever puts it on the page.
"""

from __future__ import annotations

from schemas.commands.printing import printable

_KEPT = "\n\u200c\u200d"
"""Line feeds, and the two characters of words and emoji that only join or part their neighbours."""


def shown(text: str, most: int) -> str:
    """The text with every character that would do something unseen written out: controls, bidi marks, surrogates.

    Args:
        text: of any origin.
        most: characters that are looked at; what was longer ends with an ellipsis.
    """
    text = text if len(text) <= most else text[: most - 1] + "…"
    return printable(text.replace("\r\n", "\n").replace("\t", " "), keep=_KEPT)
