"""An S3 server on this machine that fails as real stores do, always at the same requests.

It is moto's, in a process of its own, and has two doors. At `steady` it does what it is asked. At `flaky` it answers
some requests with 500 or 503, hangs up on some before they are done or after they were (the object is there, the answer
is lost), cuts some bodies short, and leaves some without an answer. Which is decided by a hash of method, path and how
often the request was seen, so that no run is luckier than another; no request fails more than twice in a row.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

TIMEOUT = 2
"""Seconds after which clients give up on an answer (`environment`)."""

_SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>'
_INTERNAL = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>we erred, try again</Message></Error>'
_ERRORS = {"500": ("500 Internal Server Error", _INTERNAL), "503": ("503 Slow Down", _SLOW_DOWN)}
_REFUSED = b'<?xml version="1.0"?><Error><Code>PreconditionFailed</Code><Message>it is another</Message></Error>'
_VOLATILE = ("UploadId", "uploadId", "continuation-token")
_MOST_FAILURES = 2
_MANNERS = (*["500", "503", "hang up", "lose the answer", "cut short"] * 2, "time out")

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


class ObjectStore:
    """The server, while a `with` block runs; one request in `every` fails at the flaky door."""

    def __init__(self, every: int) -> None:
        self._every = every

    def __enter__(self) -> ObjectStore:
        command = [sys.executable, __file__, str(self._every)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self._steady, self._flaky = map(int, self._process.stdout.readline().split())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def steady(self) -> str:
        """The door for who looks what is there."""
        return f"http://127.0.0.1:{self._steady}"

    def environment(self) -> dict[str, str]:
        """What a job needs in its environment to come through the flaky door: boto's variables, and fsspec's."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._flaky}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "FSSPEC_S3": json.dumps({"config_kwargs": {"read_timeout": TIMEOUT}}),
        }

    def failures(self) -> Counter[str]:
        """How many requests failed so far, by the way they did."""
        return Counter(self._told()["failed"])

    def changes(self) -> list[str]:
        """What was put and deleted through the flaky door so far, in order: `PUT key`, `DELETE key`."""
        return self._told()["changes"]

    def _told(self) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._flaky)
        connection.request("GET", "/-told")
        return json.loads(connection.getresponse().read())


class _Conditions:
    """The store's own application, with the conditions of copies and of uploads in parts, which moto does not check."""

    def __init__(self, store: App) -> None:
        self._store = store
        self._one_at_a_time = threading.Lock()

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        with self._one_at_a_time:
            if not self._holds(environ):
                start("412 Precondition Failed", [("Content-Type", "application/xml")])
                return [_REFUSED]
            return self._store(environ, start)

    def _holds(self, environ: Environ) -> bool:
        match, none = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
        copies = environ["REQUEST_METHOD"] == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ
        completes = environ["REQUEST_METHOD"] == "POST" and "uploadId" in environ["QUERY_STRING"]
        if not (copies or completes) or not (match or none):
            return True
        head = {name: value for name, value in environ.items() if not name.startswith("HTTP_IF_")}
        head.pop("HTTP_X_AMZ_COPY_SOURCE", None)
        head |= {"REQUEST_METHOD": "HEAD", "QUERY_STRING": "", "CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO()}
        said: list[Any] = []
        b"".join(self._store(head, lambda status, headers, *_: said.append((status, dict(headers)))))
        status, headers = said[0]
        there = headers.get("ETag") if status.startswith("200") else None
        return there is None if none else there == match


class _Flaky:
    """The door that fails, around the store's own application."""

    def __init__(self, store: App, every: int) -> None:
        self._store, self._every = store, every
        self._seen: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._changes: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/-told":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"failed": self._failed, "changes": self._changes}).encode()]
        manner = self._manner(environ)
        if manner in _ERRORS:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, body = _ERRORS[manner]
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if method == "HEAD" else [body]
        if manner == "time out":
            threading.Event().wait(TIMEOUT + 0.2)
        if manner in ("hang up", "time out"):
            return _hang_up(environ)
        told: list[Any] = []
        answer = b"".join(self._store(environ, lambda status, headers, *_: told.append((status, headers))))
        status, headers = told[0]
        if method in ("PUT", "DELETE") and status.startswith("2"):
            self._changes.append(f"{method} {path.strip('/')}")
        if manner == "lose the answer":
            return _hang_up(environ)
        start(status, headers)
        if manner == "cut short" and method == "GET" and len(answer) > 1:
            return _half(environ, answer)
        return [answer]

    def _manner(self, environ: Environ) -> str:
        query = [(n, "" if n in _VOLATILE else value) for n, value in parse_qsl(environ["QUERY_STRING"])]
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {sorted(query)} {environ.get('HTTP_RANGE')}"
        with self._lock:
            self._seen[asked] += 1
            time = self._seen[asked]
            digest = hashlib.sha256(f"{asked} {time}".encode()).digest()
            if time % (_MOST_FAILURES + 1) == 0 or int.from_bytes(digest[:4]) % self._every:
                return ""
            manner = _MANNERS[digest[4] % len(_MANNERS)]
            self._failed[manner] += 1
            return manner


def _hang_up(environ: Environ) -> Iterator[bytes]:
    """No answer: the connection is gone before its first byte."""
    environ["werkzeug.socket"].shutdown(2)
    raise ConnectionResetError
    yield b""


def _half(environ: Environ, answer: bytes) -> Iterator[bytes]:
    """The head says how long the answer is, and the half of it comes."""
    yield answer[: len(answer) // 2]
    environ["werkzeug.socket"].shutdown(2)
    raise ConnectionResetError


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; it closes when the parent ends, however it does."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    threading.Thread(target=_end_with_parent, daemon=True).start()
    store = _Conditions(DomainDispatcherApplication(create_backend_app))
    doors = [make_server("127.0.0.1", 0, app, threaded=True) for app in (store, _Flaky(store, int(sys.argv[1])))]
    print(*(door.server_address[1] for door in doors), flush=True)
    threading.Thread(target=doors[0].serve_forever, daemon=True).start()
    doors[1].serve_forever()


if __name__ == "__main__":
    main()
