"""Whatever bytes a list or a server sends: rows or reasons of our own, and no other exception."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.answer import Answer
from pipelines.fetching.options import FetchOptions
from pipelines.lists import ListOptions
from pipelines.lists.presets import PRESETS
from pipelines.lists.source import open_source
from pipelines.stages.fetch import fetch
from schemas.reasons import REASONS

pytestmark = pytest.mark.slow

SEEDS = (
    b'url,caption\nhttp://a.test/1.jpg,"a, b"\n',
    b"url\tcaption\nhttp://a.test/1.jpg\ta red boat\n",
    b'{"url": "http://a.test/1.jpg", "caption": "a red boat"}\n',
    b'[{"url": "http://a.test/1.jpg", "caption": ["a", 1, null]}]',
    b'{"images": [{"id": 1, "file_name": "a.jpg", "coco_url": "http://a.test"}], "annotations": [{"image_id": 1, "caption": "b"}]}',
    b'{"image_urls": ["http://a.test"], "captions": ["a red boat"]}',
    b'{"info": {}, "annotations": [{"image_id": "x", "url": "http://a.test", "caption": "a red boat"}]}',
    b"a.jpg#0\ta red boat\na.jpg#1\ta green boat\n",
    b"image_name| comment_number| comment\na.jpg| 0| a red boat\n",
    b"\t".join(b"%d" % n for n in range(25)) + b"\n",
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A list with bytes changed, taken out or put in; or any bytes at all."""
    content = bytearray(draw(st.sampled_from(SEEDS)) * draw(st.integers(0, 3)) + draw(st.binary(max_size=20)))
    for position, instead in draw(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=6)):
        at = position % (len(content) + 1)
        content[at : at + len(instead) // 2] = instead
    return bytes(content)


def read_all(path: Path, **options: object) -> int:
    """Rows of a list, or 0 if it is refused in one sentence."""
    try:
        return sum(len(batch) for batch in open_source(ListOptions(url_list=str(path), **options)).rows())  # type: ignore[arg-type]
    except (ValueError, OSError) as error:
        assert str(error)
        assert "\n" not in str(error)
        return 0


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "json", "jsonl", "parquet", "csv.gz", "jsonl.gz"])
@given(content=damaged(), packed=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_list(tmp_path: Path, kind: str, content: bytes, packed: bool) -> None:
    """Every format, gzip that is none included."""
    path = tmp_path / f"list.{kind}"
    path.write_bytes(
        gzip.compress(content)[: None if packed else -5] if kind.endswith("gz") and len(content) % 2 else content
    )
    assert 0 <= read_all(path)


@pytest.mark.parametrize("dataset", sorted(PRESETS))
@given(content=damaged())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_published_list(tmp_path: Path, dataset: str, content: bytes) -> None:
    """Every preset, on a file of any of its names."""
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    preset = PRESETS[dataset]
    for ending in preset.extensions or ("captions.jsonl",):
        path = tmp_path / f"list.{ending}"
        path.write_bytes(content)
        more = {"image_folder": str(folder)} if preset.pictures in ("either", "here") else {}
        assert 0 <= read_all(path, dataset=dataset, **more)


@given(st.lists(st.binary(max_size=80), max_size=12))
def test_any_header_lines(lines: list[bytes]) -> None:
    """libcurl hands them over one by one; what they say is kept or nothing."""
    answer = Answer(AddressPolicy(), FetchOptions())
    for line in [b"HTTP/1.1 200 OK\r\n", *lines]:
        assert len(line) == answer._header(line)
    answer._write(b"\xff\xd8")
    assert answer.fault is None
    assert 0 <= answer.status


@contextmanager
def says(*answers: bytes) -> Iterator[int]:
    """A server that sends each connection the next of these bytes, whatever it is asked, and hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


HEADERS = st.sampled_from(
    [
        b"Content-Length: ", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Location: ", b"Retry-After: ",
        b"X-Robots-Tag: ", b"Connection: close", b"Content-Type: image/jpeg", b"Set-Cookie: a=b", b"HTTP/1.1 100 Continue\r\n",
    ]
)  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 301", b"HTTP/1.1 429 x", b"HTTP/2 200", b"ICY 200"]),
            st.lists(st.tuples(HEADERS, st.binary(max_size=20)), max_size=5),
            st.binary(max_size=100),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40)
def test_any_answer(parts: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]]) -> None:
    """Bytes on the wire that only begin like HTTP: every link ends, kept whole or with a reason in our words."""
    answers = [
        first + b"\r\n" + b"".join(name + value + b"\r\n" for name, value in headers) + b"\r\n" + body
        for first, headers, body in parts
    ]
    with says(*answers) as port:
        options = FetchOptions(
            timeout=2, retries=0, max_connections_per_host=1, ignore_robots=True, max_redirects=0,
            allow_private_hosts=(f"127.0.0.1:{port}",),
        )  # fmt: skip
        results = list(fetch(((n, f"http://127.0.0.1:{port}/{n}") for n in range(len(answers))), options))
    assert list(range(len(answers))) == sorted(result.index for result in results)
    for result in results:
        assert result.data if result.problem is None else result.problem.reason in REASONS
