"""Many hosts on one port of this machine: what a request gets, byte for byte, is a function of host and path."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.fetching.links import Fetched
from pipelines.fetching.options import FetchOptions
from pipelines.stages.fetch import fetch


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    host: str
    path: str
    count: int
    """How often it has been asked for, this time included."""


def http(body: bytes = b"picture", status: str = "200 OK", *lines: str | bytes) -> bytes:
    """An answer with these header lines."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return b"".join((h if isinstance(h, bytes) else h.encode("latin-1")) + b"\r\n" for h in head) + b"\r\n" + body


NOT_FOUND = http(b"", "404 Not Found")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Sites:
    """The server; robots.txt is missing unless `answers` says otherwise."""

    def __init__(self, answers: Callable[[Request], bytes | None]) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.most = 0
        """Requests that were open at once, at most."""
        self._open = 0
        self._lock = threading.Lock()
        sites = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while line := self.rfile.readline(1 << 16):
                        host = ""
                        while (header := self.rfile.readline(1 << 16)) not in (b"\r\n", b""):
                            if header.lower().startswith(b"host:"):
                                host = header[5:].strip().decode().partition(":")[0]
                        answer = sites._answer(host, line.split(b" ")[1].decode(), answers)
                        if answer is None:
                            return
                        self.wfile.write(answer)
                        if b"\r\nConnection: close" in answer[: 1 << 17]:
                            return

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(self, host: str, path: str, answers: Callable[[Request], bytes | None]) -> bytes | None:
        with self._lock:
            self.requests[host, path] += 1
            count = self.requests[host, path]
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            answer = answers(Request(host, path, count))
            return NOT_FOUND if answer is None and path == "/robots.txt" else answer
        finally:
            with self._lock:
                self._open -= 1

    def options(self, hosts: tuple[str, ...], **changed: Any) -> FetchOptions:
        """That find these hosts here."""
        mapped = tuple(f"{host}:80:127.0.0.1:{self.port}" for host in hosts)
        return FetchOptions(**{"timeout": 10.0, "retries": 0, "connect_to": mapped, **changed})

    def fetch(self, urls: list[str], **changed: Any) -> list[Fetched]:
        """What became of each."""
        hosts = tuple(dict.fromkeys(url.split("/")[2].split(":")[0] for url in urls))
        options = self.options((*hosts, *changed.pop("more_hosts", ())), **changed)
        results = {result.index: result for result in fetch(enumerate(urls), options)}
        assert sorted(results) == list(range(len(urls))), "each link ends exactly once"
        return [results[i] for i in range(len(urls))]

    def reasons(self, urls: list[str], **changed: Any) -> list[str]:
        """The reason of each, empty where its bytes came."""
        return [result.problem.reason if result.problem else "" for result in self.fetch(urls, **changed)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def sites(answers: Callable[[Request], bytes | None]) -> Iterator[Sites]:
    """The server, while the block runs."""
    server = Sites(answers)
    try:
        yield server
    finally:
        server.close()
