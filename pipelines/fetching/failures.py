"""What a failure is called: from libcurl's errors and HTTP's statuses to the ledger's reasons."""

from __future__ import annotations

import re
import time
from calendar import timegm
from email.utils import parsedate_tz

import pycurl

from pipelines.fetching.answer import Answer
from schemas.reasons import NotKept

_BY_ERROR = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "bad-url",
    pycurl.E_URL_MALFORMAT: "bad-url",
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_RESOLVE_PROXY: "dns",
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
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

_RANGE = re.compile(r"bytes\s+0-(\d{1,18})/(\d{1,18})", re.IGNORECASE)

_LONGEST_WAIT = 1e9
"""Seconds that stand for any longer wait that a server asks for."""


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
    if answer.fault:
        return NotKept("bad-response", f"{type(answer.fault).__name__}: {answer.fault}"[:200])
    if answer.opted_out:
        tags = "; ".join(answer.headers["x-robots-tag"])
        return NotKept("opted-out", f"X-Robots-Tag: {tags[:100]}")
    if answer.too_large or (not answer.size and answer.announces_too_much):
        return NotKept("too-large", "more bytes than --max_bytes")
    if answer.cut:
        return None
    if answer.status >= 400 and error in (0, pycurl.E_WRITE_ERROR):
        # 999 and its like are how some sites refuse crawlers: no failure of the server's that would pass
        reason = _BY_STATUS.get(answer.status) or ("http-5xx" if 500 <= answer.status < 600 else "http-4xx")
        return NotKept(reason, f"HTTP {answer.status}")
    if answer.status >= 300 and error in (0, pycurl.E_WRITE_ERROR):
        return NotKept("redirects", f"HTTP {answer.status} leads nowhere")
    if answer.status < 200 and error in (0, pycurl.E_WRITE_ERROR):
        return NotKept("bad-response", "its first line has no status that HTTP knows")
    if error:
        return _of_error(answer, error, message, redirected=redirected)
    if not answer.size:
        return NotKept("empty", f"HTTP {answer.status} without a body")
    return _of_part(answer) if answer.status == 206 else None


def _of_error(answer: Answer, error: int, message: str, *, redirected: bool) -> NotKept:
    reason = _BY_ERROR.get(error, "bad-response")
    if error == pycurl.E_RECV_ERROR and not _BROKEN.search(message):
        reason = "bad-response"  # libcurl says so of chunks and headers that make no sense, too
    if error == pycurl.E_UNSUPPORTED_PROTOCOL and answer.connected:
        reason = "bad-response"  # of HTTP itself: an answer of version 0.9 or 9.9
    leads_away = redirected and reason == "bad-url"
    return NotKept("redirects" if leads_away else reason, _WHEN.sub("", message) or f"curl error {error}")


def _of_part(answer: Answer) -> NotKept | None:
    """A part was not asked for; it is the whole if its header says so and the bytes do not contradict."""
    ranges = answer.headers.get("content-range", ())
    match = _RANGE.fullmatch(ranges[0].strip()) if len(ranges) == 1 else None
    if match and int(match[1]) + 1 == int(match[2]) == answer.size:
        return None
    said = f" ({ranges[0][:60]})" if ranges else ""
    return NotKept("bad-response", f"HTTP 206 with a part of it{said} where all was asked for")


def retry_after(headers: dict[str, list[str]]) -> float:
    """Seconds the server asks to wait, said as such or as a date; 0 if it says nothing that can be understood."""
    value = headers.get("retry-after", [""])[-1].strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 10 else _LONGEST_WAIT
    try:
        parts = parsedate_tz(value[:100])
        return 0.0 if parts is None else max(0.0, float(timegm((*parts[:6], 0, 1, 0)) - (parts[9] or 0)) - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
