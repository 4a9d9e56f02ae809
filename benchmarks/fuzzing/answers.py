"""What servers say before a picture's bytes, and what sites say in robots.txt."""

from __future__ import annotations

import contextlib
from typing import Any

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.answer import Answer
from pipelines.fetching.failures import failure, retry_after
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.robots import Rules
from pipelines.fetching.urls import Target
from schemas.reasons import NotKept

HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 12\r\nX-Robots-Tag: noai, noimageai\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: http://b.test/\xe4\xf6?q=1#x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 +2360\r\n\r\n",
    b"HTTP/2 206\r\ncontent-range: bytes 0-1/2\r\nx-robots-tag: img2dataset: noindex; unavailable_after: 2010\r\n\r\n",
    b"HTTP/1.0 404\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b; expires=never\r\nContent-Encoding: gzip\r\n\r\n",
)
ROBOTS = (
    b"User-agent: *\nDisallow: /private/\nAllow: /private/ok*.jpg$\nCrawl-delay: 10\nSitemap: http://a.test/s.xml\n",
    b"\xef\xbb\xbfUser-agent: img2dataset\r\nUser-agent: *\r\nDisallow: /*.gif$\r\n\r\nRequest-rate: 1/5\n",
    b"# only a comment\nuser-agent:*\ndisallow:\ndisallow: /%E4%F6%zz/*/**$$\n",
    b"<html><body>no robots here</body></html>",
)
_URLS = ("http://a.test/private/ok1.jpg", "http://a.test/%e4?x=1", "http://a.test", "http://a.test/a.gif#f")
_OPTIONS = FetchOptions()


def headers_done_to(data: bytes) -> tuple[Any, bytes]:
    """A block of header lines, as libcurl hands it over, and what is made of it."""
    answer = Answer(AddressPolicy(), _OPTIONS)
    for line in data.splitlines(keepends=True):
        if answer._header(line) != len(line):
            return "a line is not taken", b""
    answer._write(b"\xff\xd8")
    wait = retry_after(answer.headers)
    if not wait >= 0:
        return f"waits {wait}", b""
    for location in answer.headers.get("location", ()):
        with contextlib.suppress(ValueError):  # is what it says of an address that is none
            Target.of("http://a.test/1.jpg").redirected(location.encode("latin-1"))
    problem = failure(answer, 0, "", redirected=False)
    if answer.fault is not None:
        raise answer.fault
    return problem.reason if problem else "kept", b""


def robots_done_to(data: bytes) -> tuple[Any, bytes]:
    """A site's rules, and whether links of it may be fetched."""
    rules = Rules.of_answer(200, data, None)
    refused: list[NotKept | None] = [
        rules.refusal(url, agent) for url in _URLS for agent in ("img2dataset", "", "x" * 300)
    ]
    return ("some may not" if any(refused) else "all may"), b""
