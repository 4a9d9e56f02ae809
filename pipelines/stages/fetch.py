"""Fetch links over HTTP, many at once in one thread, none longer than its deadline.

libcurl speaks the protocol; `pipelines.fetching` decides which addresses may be spoken to, when a link has had its
time, what a failure is called, and that no more lies in memory than the reader of the results can take.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable

from pipelines.fetching.links import Fetched
from pipelines.fetching.loop import Loop
from pipelines.fetching.options import FetchOptions


def fetch(links: Iterable[tuple[int, str]], options: FetchOptions) -> Generator[Fetched, None, None]:
    """Fetch links, given as (index, URL); results come in the order they arrive, one for each link.

    Each link has ended `options.deadline` seconds after it was sent, whatever its server does; waiting its turn (for a
    place, for a slot of its host, for its site's robots.txt) comes before that.
    """
    loop = Loop(links, options)
    thread = threading.Thread(target=loop.run, name="fetch", daemon=True)
    thread.start()
    try:
        while (result := loop.results.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            loop.consumed(result)
            yield result
    finally:
        loop.stopped = True
        thread.join()
