"""Serve the sample web on this machine, with the manners that its links were planted for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipelines.sample_web.making import CLOSED_HOST, HOSTS, OPT_OUT_HOST, Web

_STATUS = {"missing": 404, "gone": 410, "forbidden": 403, "error": 500, "busy": 429}
_PAGE = b"<!DOCTYPE html><html><body><h1>Not the picture you are looking for</h1></body></html>"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><circle r="9"/></svg>'
_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_CLOSED_PORT = 1
_PATIENCE = 120.0


@contextlib.contextmanager
def serve(web: Web) -> Iterator[tuple[str, ...]]:
    """Serve while the block runs; gives what `--connect_to` needs so that the sample's hosts are found."""
    server = _Server(("127.0.0.1", 0), partial(_Handler, files=web.files))
    thread = threading.Thread(target=server.serve_forever, name="sample-web", daemon=True)
    thread.start()
    try:
        port = server.server_address[1]
        open_hosts = tuple(f"{host}:80:127.0.0.1:{port}" for host in (*HOSTS, OPT_OUT_HOST))
        yield (*open_hosts, f"{CLOSED_HOST}:80:127.0.0.1:{_CLOSED_PORT}")
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ended = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what slow answers are there for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def __init__(self, *args: Any, files: Path) -> None:
        self._files = files
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""

    def do_GET(self) -> None:
        """Answer as the first part of the path says."""
        manner, _, name = self.path.lstrip("/").partition("/")
        if self.path == "/robots.txt":
            private = self.headers.get("Host", "").startswith(OPT_OUT_HOST)
            self._answer(200, b"User-agent: *\nDisallow: /\n" if private else b"", "text/plain")
        elif manner in _STATUS:
            self._answer(_STATUS[manner], _PAGE, "text/html")
        elif manner == "page":
            self._answer(200, _PAGE, "image/jpeg")
        elif manner == "svg":
            self._answer(200, _SVG, "image/svg+xml")
        elif manner == "empty":
            self._answer(200, b"", "image/jpeg")
        elif manner == "loop":
            self._answer(302, b"", "text/html", {"Location": self.path})
        elif manner == "large":
            self._head({"Content-Length": str(10**9), "Content-Type": "image/jpeg"})
            self.close_connection = True
        elif manner == "cut":
            self._head({"Content-Length": "100000", "Content-Type": "image/jpeg"})
            self.wfile.write(b"\xff\xd8\xff\xe0")
            self.close_connection = True
        elif manner == "slow":
            self.server.ended.wait(_PATIENCE)
            self.close_connection = True
        elif manner == "endless":
            self._drip()
        else:
            self._file(name, {"X-Robots-Tag": "noai"} if manner == "noai" else {})

    def _file(self, name: str, headers: dict[str, str]) -> None:
        path = self._files / Path(name).name
        if path.is_file():
            self._answer(200, path.read_bytes(), _TYPES[path.suffix[1:]], headers)
        else:
            self._answer(404, _PAGE, "text/html")

    def _drip(self) -> None:
        self._head({"Content-Type": "image/jpeg"})
        self.close_connection = True
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and not self.server.ended.wait(0.2):
            self.wfile.write(b"\xff")

    def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self._head({"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}, status)
        self.wfile.write(body)

    def _head(self, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
