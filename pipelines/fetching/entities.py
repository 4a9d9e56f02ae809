"""Links that were cut out of HTML with its `&amp;` left in them: what they are with `&`, and when that is asked for.

An address with `&amp;` may be right as it is, so it is asked for as given first. Where that ends in a way that does not
pass, and that a wrong address may be the cause of, the other is asked for; there is none for an address without any.
"""

from __future__ import annotations

import re

from pipelines.fetching.urls import Target

_AMPERSAND = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
"""Also where it was written by several in turn: `&amp;amp;`."""

_MAY_BE_THE_ADDRESS = frozenset(
    ("http-4xx", "http-403", "http-404", "http-410", "redirects", "empty", "hash-mismatch", "not-an-image")
)
"""Reasons; a page that says "no such picture" may come with any status. What passes is tried again as it is, and what a
site forbids stays forbidden."""


def without_entities(url: str, reason: str | None) -> str | None:
    """What a link is asked for as after it ended for this reason; None if nothing else is to be asked for."""
    if reason not in _MAY_BE_THE_ADDRESS:
        return None
    other = _AMPERSAND.sub("&", url)
    if other == url:
        return None
    try:
        differ = Target.of(other).url != Target.of(url).url  # in a fragment it makes no difference
    except ValueError:
        return None
    return other if differ else None
