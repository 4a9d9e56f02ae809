"""A real web server for tests: a folder's files, and manners that are asked for by path.

It runs in a process of its own, so that a test that is busy does not slow it down and a job's rate is the job's.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Web:
    """The server, while a `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Web:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """Address of a file, or of a manner."""
        return f"http://{self.address}/{path}"

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """What is asked for as held/FILE is answered only when the block ends: until then no job can end."""
        self._announce("hold")
        try:
            yield
        finally:
            self._announce("release")

    def _announce(self, manner: str) -> None:
        # by no proxy: one that another test names, as one that nobody listens at, stays in urlopen's own opener
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.url(manner), timeout=60) as answer:
            assert b"done" == answer.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ended = threading.Event()
    released = threading.Event()
    seen: dict[str, int] = {}

    def __init__(self, *args: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        manner, _, rest = path.partition("/")
        answer = getattr(self, f"manner_{manner.replace('-', '_')}", None)
        if answer:
            answer(rest)
        else:
            self.manner_file(path)

    def manner_file(self, rest: str) -> None:
        """The file, or 404."""
        path = (self.folder / rest).resolve()
        if path.is_relative_to(self.folder.resolve()) and path.is_file():
            self.answer(200, path.read_bytes())
        else:
            self.answer(404, b"nothing here")

    def manner_status(self, rest: str) -> None:
        """status/503/...: that status."""
        self.answer(int(rest.partition("/")[0]), b"so it is")

    def manner_twice(self, rest: str) -> None:
        """twice/503/file: that status at the first request of it, then the file."""
        status, _, name = rest.partition("/")
        self.seen[rest] = self.seen.get(rest, 0) + 1
        if self.seen[rest] == 1:
            self.answer(int(status), b"not yet")
        else:
            self.manner_file(name)

    def manner_drip(self, rest: str) -> None:
        """A byte now and then, for ever."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        while not self.ended.wait(0.1):
            self.wfile.write(b"\xff")

    def manner_silent(self, rest: str) -> None:
        """No answer at all."""
        self.close_connection = True
        self.ended.wait(60)

    def manner_stall(self, rest: str) -> None:
        """stall/N/...: N bytes of twice as many, then silence."""
        self._half(int(rest.partition("/")[0]))
        self.ended.wait(60)

    def manner_cut(self, rest: str) -> None:
        """cut/N/...: N bytes of twice as many, then the end."""
        self._half(int(rest.partition("/")[0]))

    def _half(self, size: int) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(2 * size))
        self.end_headers()
        self.wfile.write(bytes(size))

    def manner_held(self, rest: str) -> None:
        """held/FILE: the file, but not while `Web.holding`."""
        self.released.wait()
        self.manner_file(rest)

    def manner_hold(self, rest: str) -> None:
        self.released.clear()
        self.answer(200, b"done")

    def manner_release(self, rest: str) -> None:
        self.released.set()
        self.answer(200, b"done")

    def manner_to(self, rest: str) -> None:
        """to/ADDRESS: a redirect there."""
        self.answer(302, b"", {"Location": rest})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def main() -> None:
    _Handler.released.set()
    server = _Server(("127.0.0.1", 0), partial(_Handler, folder=Path(sys.argv[1])))
    print(server.server_address[1], flush=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server.serve_forever()


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; it closes when the parent ends, however it does."""
    import os

    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
