"""Fetch links with img2dataset's own downloader: `--downloader img2dataset`.

It follows redirects to any address, has no deadline for a dripping body and no cap on bytes; it is here so that its
users can compare, and the manifest names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any

from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import that_count
from schemas.reasons import NotKept

_REASONS = (
    (re.compile(r"X-Robots-Tag"), "opted-out"),
    (re.compile(r"HTTP Error (403|404|410)"), r"http-\1"),
    (re.compile(r"HTTP Error 429"), "rate-limited"),
    (re.compile(r"HTTP Error [46-9]\d\d"), "http-4xx"),
    (re.compile(r"HTTP Error 5\d\d"), "http-5xx"),
    (re.compile(r"HTTP Error 3\d\d|redirect"), "redirects"),
    (re.compile(r"timed out", re.IGNORECASE), "timeout"),
    (re.compile(r"Name or service not known|name resolution|No address associated"), "dns"),
    (re.compile(r"Connection refused|No route to host|unreachable"), "refused"),
    (re.compile(r"SSL|CERTIFICATE", re.IGNORECASE), "tls"),
    (re.compile(r"reset by peer|IncompleteRead|closed connection|Remote end closed"), "reset"),
    (re.compile(r"unknown url type|no host given|nonnumeric port|control characters"), "bad-url"),
)


def fetch_img2dataset(
    links: Iterable[tuple[int, str]], options: FetchOptions
) -> Iterator[tuple[int, bytes, NotKept | None]]:
    """Fetch links, given as (index, URL); results come in the order they arrive, one for each link."""
    from img2dataset.downloader import download_image_with_retry

    directives = that_count(options.disallowed_header_directives) or None
    token = options.user_agent_token.lower() if options.user_agent_token else None

    def download(link: tuple[int, str]) -> tuple[int, Any, str | None]:
        if not link[1].lower().startswith(("http://", "https://")):  # urllib would read local files
            return link[0], None, "unknown url type"
        return download_image_with_retry(
            link,
            timeout=options.timeout,
            retries=options.retries,
            user_agent_token=token,
            disallowed_header_directives=directives,
        )

    with ThreadPool(options.thread_count) as pool:
        for index, stream, message in pool.imap_unordered(download, links):
            data = stream.getvalue() if stream is not None else b""
            yield index, data, _problem(message, data)


def _problem(message: str | None, data: bytes) -> NotKept | None:
    if message is None:
        return None if data else NotKept("empty")
    for pattern, reason in _REASONS:
        if match := pattern.search(message):
            return NotKept(match.expand(reason), message)
    return NotKept("bad-response", message)
