"""What a failure is called: from libcurl's errors and HTTP's statuses to the ledger's reasons."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pycurl

from pipelines.fetching.answer import Answer
from schemas.reasons import NotKept

_BY_ERROR = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "bad-url",
    pycurl.E_URL_MALFORMAT: "bad-url",
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_TOO_MANY_REDIRECTS: "redirects",
    pycurl.E_FILESIZE_EXCEEDED: "too-large",
    pycurl.E_PARTIAL_FILE: "reset",
    pycurl.E_GOT_NOTHING: "reset",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CIPHER: "tls",
}
"""Every other error is an answer that is not HTTP as it should be: `bad-response`."""

_BROKEN = re.compile(r"recv failure|reset|closed|aborted|broken|eof|shut ?down", re.IGNORECASE)

_WHEN = re.compile(r" after \d+ (?:ms|milliseconds?)\b(?: with \d+ (?:out of \d+ )?bytes received)?")
"""The part of libcurl's message that gives times and sizes: it differs from run to run, and the ledger must not."""

_BY_STATUS = {403: "http-403", 404: "http-404", 408: "timeout", 410: "http-410", 429: "rate-limited"}


def failure(answer: Answer, error: int, message: str, *, redirected: bool) -> NotKept | None:
    """What kept an answer from being a picture's bytes, if anything did.

    Args:
        answer: as far as it came.
        error: libcurl's number, 0 if the transfer ended well.
        message: libcurl's words for it.
        redirected: whether at least one redirect was followed.
    """
    if answer.forbidden:
        return NotKept("forbidden-address", f"{answer.forbidden} is not a public address")
    if answer.opted_out:
        tags = "; ".join(answer.headers["x-robots-tag"])
        return NotKept("opted-out", f"X-Robots-Tag: {tags[:100]}")
    if answer.too_large:
        return NotKept("too-large", "more bytes than --max_bytes")
    if answer.status >= 400 and error in (0, pycurl.E_WRITE_ERROR):
        reason = _BY_STATUS.get(answer.status) or ("http-5xx" if answer.status >= 500 else "http-4xx")
        return NotKept(reason, f"HTTP {answer.status}")
    if error:
        reason = _BY_ERROR.get(error, "bad-response")
        if error == pycurl.E_RECV_ERROR and not _BROKEN.search(message):
            reason = "bad-response"  # libcurl says so of chunks and headers that make no sense, too
        if error == pycurl.E_UNSUPPORTED_PROTOCOL and answer.connected and not 300 <= answer.status < 400:
            reason = "bad-response"  # of HTTP itself: an answer of version 0.9 or 9.9
        leads_away = redirected and reason == "bad-url"
        return NotKept("redirects" if leads_away else reason, _WHEN.sub("", message) or f"curl error {error}")
    if answer.status >= 300:
        return NotKept("redirects", f"HTTP {answer.status} leads nowhere")
    return None if answer.size else NotKept("empty", f"HTTP {answer.status} without a body")


def fault_of_url(url: str) -> str:
    """What is wrong with an address, in words; nothing if it may be tried."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme.lower() not in ("http", "https"):
            return f"expected http:// or https://, found '{url[:40]}'"
        return "" if parts.hostname else "the address names no host"
    except ValueError as error:
        return str(error)


def retry_after(headers: dict[str, list[str]]) -> float:
    """Seconds the server asks to wait, said as such or as a date; 0 if it does not say."""
    value = headers.get("retry-after", [""])[-1].strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
