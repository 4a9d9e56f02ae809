"""Files of weights from the web, within limits: of silence, of slowness, of size.

libcurl and not urllib, whose time limit counts for each read alone: a server that sends a byte now and then, or a
name server that does not answer, would hold it for ever.
"""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import certifi
import pycurl

from schemas.whole_file import whole_file


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """What a download may take; the defaults let the released encoder, 205 MiB, take fifteen minutes."""

    silence_s: float = 30.0
    """Seconds in which no byte may come: while connecting, before the answer and in the middle of it."""
    start_s: float = 60.0
    """Seconds that it may take on top of what its size allows."""
    bytes_per_s: float = 256 * 1024
    """Bytes a second that it must reach on average, once those seconds are over."""
    max_bytes: int = 2 * 1024**3
    """The largest file that is taken, in bytes."""
    tries: int = 3
    """Attempts, where another may help: after broken connections and after the answers 408, 429 and 5xx."""
    pause_s: float = 1.0
    """Seconds before the second attempt; twice that before the third, and so on."""


LIMITS = DownloadLimits()


def download(address: str, path: Path, limits: DownloadLimits = LIMITS) -> None:
    """Write what an address answers to a file, whole or not at all; the folder must be there.

    Args:
        address: http or https; redirects are followed to those two and nowhere else.
        path: its name in the end; a file that has it already is replaced.
        limits: when to give up.

    Raises:
        ValueError: if the file cannot be had within the limits.
        OSError: if it cannot be written.
    """
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        _receive(address, file, limits)


def download_bytes(address: str, limits: DownloadLimits = LIMITS) -> bytes:
    """What an address answers, in memory; see `download`."""
    file = io.BytesIO()
    _receive(address, file, limits)
    return file.getvalue()


def _receive(address: str, file: BinaryIO, limits: DownloadLimits) -> None:
    for attempt in range(1, limits.tries + 1):
        file.seek(0)
        file.truncate()
        transfer = _Transfer(file, limits)
        fault = transfer.run(address)
        if not fault:
            return
        if not transfer.may_pass or attempt == limits.tries:
            raise ValueError(f"{address}: {fault}; try again later, or fetch the file in another way and give its path")
        time.sleep(attempt * limits.pause_s)


class _Transfer:
    """One attempt."""

    may_pass = False
    """Whether another attempt may go well where this one failed."""

    def __init__(self, file: BinaryIO, limits: DownloadLimits) -> None:
        self._file, self._limits = file, limits
        self._over_limit = ""
        self._write_error: OSError | None = None
        self._received = 0
        self._begun = self._last_byte = time.monotonic()

    def run(self, address: str) -> str:
        """Transfer; returns what went wrong, or nothing.

        Raises:
            OSError: if the file cannot be written.
        """
        handle = self._handle(address)
        try:
            handle.perform()
        except pycurl.error as error:
            if self._write_error:
                raise self._write_error from None
            code, message = error.args
            status = handle.getinfo(pycurl.RESPONSE_CODE)
            if code == pycurl.E_HTTP_RETURNED_ERROR:
                self.may_pass = status in (408, 429) or status >= 500
                return f"the server answered {status}"
            self.may_pass = not self._over_limit and code in _MAY_PASS
            return self._over_limit or message or handle.errstr() or f"libcurl's error {code}"
        finally:
            handle.close()
        return ""

    def _handle(self, address: str) -> pycurl.Curl:
        handle = pycurl.Curl()
        for option, value in (
            (pycurl.URL, address.encode()),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 1),
            (pycurl.MAXREDIRS, 10),
            (pycurl.FAILONERROR, 1),
            (pycurl.NOSIGNAL, 1),
            (pycurl.CONNECTTIMEOUT_MS, max(1, round(1000 * self._limits.silence_s))),
            (pycurl.CAINFO, os.environ.get("SSL_CERT_FILE") or certifi.where()),
            (pycurl.WRITEFUNCTION, self._write),
            (pycurl.NOPROGRESS, 0),
            (pycurl.XFERINFOFUNCTION, self._judge),
        ):
            handle.setopt(option, value)
        return handle

    def _write(self, data: bytes) -> int | None:
        try:
            self._file.write(data)
        except OSError as error:
            self._write_error = error
            return -1
        return None  # all of it was taken

    def _judge(self, expected: float, received: float, _to_send: float, _sent: float) -> int:
        """Whether to give up; libcurl asks at every piece, and each second while none comes."""
        limits, now = self._limits, time.monotonic()
        if received != self._received:
            self._received, self._last_byte = int(received), now
        if max(expected, received) > limits.max_bytes:
            self._over_limit = f"the file has more than {limits.max_bytes:,} bytes"
        elif now - self._last_byte > limits.silence_s:
            self._over_limit = f"no byte came for {limits.silence_s:g} s, after {self._received:,} bytes"
        elif now - self._begun > limits.start_s + self._received / limits.bytes_per_s:
            self._over_limit = (
                f"only {self._received:,} bytes came in {now - self._begun:.1f} s, expected "
                f"{limits.bytes_per_s:,.0f} a second"
            )
        return int(bool(self._over_limit))


_MAY_PASS = {
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_GOT_NOTHING,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_RECV_ERROR,
    pycurl.E_SEND_ERROR,
    pycurl.E_OPERATION_TIMEDOUT,
}
