"""A store that falls silent holds nobody for ever: the client's own time-outs do not cover a put."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import fsspec
import pytest

from schemas import uploads
from schemas.folder import Folder

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Store:
    """Takes connections; says nothing on the next `silent` of them, and on others that all is well."""

    def __init__(self) -> None:
        self.silent, self.kept = 0, list[socket.socket]()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.kept.append(connection)
            if len(self.kept) > self.silent:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as asked:
            head = b"".join(iter(asked.readline, b"\r\n")).lower()
            if b"expect: 100-continue" in head:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            asked.read(int(head.split(b"content-length:")[1].split()[0]))
            connection.sendall(ANSWER)

    def close(self) -> None:
        for each in (self._listening, *self.kept):
            each.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    for name, value in {"ENDPOINT_URL": store.address, "ACCESS_KEY_ID": "nobody", "SECRET_ACCESS_KEY": "none"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    Folder("s3://bucket/out").write("first.json", b"{}")  # a client takes longer to be made than a try has below
    monkeypatch.setattr(uploads, "LEAST_SECONDS", 1.0)
    store.kept.clear()
    store.silent = request.param
    yield store
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("store", [2], indirect=True)
def test_silent_twice_and_then_well(store: Store) -> None:
    """A put goes on where a store has fallen silent before."""
    Folder("s3://bucket/out").write("a.json", b"{}" * 40_000)
    assert 3 == len(store.kept)


@pytest.mark.parametrize("store", [1000], indirect=True)
def test_silent_for_good_is_one_sentence(store: Store) -> None:
    """Three tries, and then who did not take what."""
    with pytest.raises(TimeoutError, match=r"^bucket/out/a.json: the store did not take its 5 bytes within 1 s, nor"):
        Folder("s3://bucket/out").write("a.json", b"hello")
    assert 3 == len(store.kept)
