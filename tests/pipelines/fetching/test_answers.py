"""Whatever a server answers, its link ends, kept whole or with a reason, and no header can make the fetching fail."""

from __future__ import annotations

import contextlib
import gzip
import time
import zlib
from email.utils import formatdate

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.fetching import loop
from pipelines.fetching.content_encoding import BadEncoding, TooLong, decoded, decoded_start
from pipelines.fetching.failures import retry_after
from pipelines.fetching.resolving import Resolver
from pipelines.stages.fetch import fetch
from schemas.reasons import REASONS
from tests.pipelines.fetching.sites import Request, http, sites

PICTURE = bytes(range(256)) * 40
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = RAW.compress(PICTURE) + RAW.flush()
BR, ZSTD = (pa.compress(PICTURE, codec, asbytes=True) for codec in ("brotli", "zstd"))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("200 OK", ""), ("200", ""), ("203 x", ""), ("202 Accepted", ""), ("299 x", ""),
        ("2000 OK", "bad-response"), ("20000", "bad-response"), ("4040 x", "bad-response"), ("5030 x", "bad-response"),
        ("999999 x", "bad-response"), ("9" * 5000 + " x", "bad-response"), ("000 x", "bad-response"),
        ("099 x", "bad-response"), ("20 x", "bad-response"), ("-1 x", "bad-response"), ("2²0 x".encode().decode("latin-1"), "bad-response"),
        ("300 x", "redirects"), ("304 x", "redirects"), ("399 x", "redirects"),
        ("400 x", "http-4xx"), ("403 x", "http-403"), ("404 x", "http-404"), ("408 x", "timeout"), ("410 x", "http-410"),
        ("429 x", "rate-limited"), ("499 x", "http-4xx"), ("500 x", "http-5xx"), ("599 x", "http-5xx"),
        ("600 x", "http-4xx"), ("777 x", "http-4xx"), ("999 Request denied", "http-4xx"),
    ],
)  # fmt: skip
def test_statuses(status: str, reason: str) -> None:
    """Three digits; those above 599 are refusals, asked for once whatever --retries says."""
    with sites(lambda request: http(PICTURE, status)) as web:
        assert [reason] == web.reasons(["http://a.example/x"], ignore_robots=True)
        if status[0] in "6789":
            assert [reason] == web.reasons(["http://a.example/y"], ignore_robots=True, retries=3)
            assert 1 == web.requests["a.example", "/y"]


@pytest.mark.parametrize("status", ["999 Request denied", "600 x"])
def test_a_robots_txt_of_no_known_status_allows_nothing(status: str) -> None:
    """It is no 4xx, of which RFC 9309 says that there are no rules."""
    with sites(lambda request: http(b"", status) if request.path == "/robots.txt" else http()) as web:
        assert ["http-4xx"] == web.reasons([f"http://of{status[:3]}.example/x"])


def test_what_is_announced_and_never_sent() -> None:
    """More than may be: too large, also if the line breaks before its first byte; less: broken off."""
    head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
    sizes = {"a": 10**9, "b": 10**6}
    with sites(lambda request: head.format(sizes[request.path[-1]]).encode()) as web:
        urls = [f"http://a.example/{name}" for name in sizes]
        assert ["too-large", "reset"] == web.reasons(urls, ignore_robots=True)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "bad-response"),
        ([f"Content-Range: bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}"], ""),
        ([f"Content-Range: BYTES  0-{len(PICTURE) - 1}/{len(PICTURE)}"], ""),
        ([f"Content-Range: bytes 0-{len(PICTURE) - 1}/{2 * len(PICTURE)}"], "bad-response"),
        ([f"Content-Range: bytes 0-{len(PICTURE) - 1}/*"], "bad-response"),
        ([f"Content-Range: bytes {len(PICTURE)}-{2 * len(PICTURE) - 1}/{2 * len(PICTURE)}"], "bad-response"),
        ([f"Content-Range: bytes 0-{2 * len(PICTURE) - 1}/{2 * len(PICTURE)}"], "bad-response"),
        (["Content-Range: bytes 0-9/10"], "bad-response"),
        (["Content-Range: bytes 0-" + "9" * 5000 + "/" + "9" * 5000], "bad-response"),
        ([f"Content-Range: bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}"] * 2, "bad-response"),
        (["Content-Type: multipart/byteranges; boundary=x"], "bad-response"),
    ],
)
def test_a_part_is_not_the_whole(headers: list[str], reason: str) -> None:
    """206 was not asked for: kept only where its range is all there is, and the bytes are so many."""
    with sites(lambda request: http(PICTURE, "206 Partial Content", *headers)) as web:
        assert [reason] == web.reasons(["http://a.example/x"], ignore_robots=True)


@pytest.mark.parametrize(
    ("body", "values", "reason"),
    [
        (PICTURE, ["utf-8"], ""), (PICTURE, ["none"], ""), (PICTURE, [""], ""), (PICTURE, ["binary"], ""),
        (PICTURE, ["aws-chunked"], ""), (PICTURE, ["image/jpeg"], ""), (PICTURE, ["identity, identity"], ""),
        (PICTURE, ["rot13", "x" * 3000], ""), (PICTURE, [", ,;q=1"], ""),
        (gzip.compress(PICTURE), ["gzip"], ""), (gzip.compress(PICTURE), ["x-gzip"], ""), (gzip.compress(PICTURE), ["GZIP "], ""),
        (gzip.compress(PICTURE), ["gzip, aws-chunked"], ""), (gzip.compress(PICTURE), ["aws-chunked", "gzip"], ""),
        (gzip.compress(PICTURE) + b"what follows", ["gzip"], ""),
        (zlib.compress(PICTURE), ["deflate"], ""), (RAW_DEFLATE, ["deflate"], ""), (BR, ["br"], ""), (ZSTD, ["zstd"], ""),
        (gzip.compress(BR), ["br, gzip"], ""), (gzip.compress(BR), ["br", "utf-8", "gzip"], ""),
        (PICTURE, ["gzip"], "bad-response"), (PICTURE, ["br"], "bad-response"), (gzip.compress(PICTURE)[:-50], ["gzip"], "bad-response"),
        (PICTURE, [", ".join(["gzip"] * 6)], "bad-response"),
        (gzip.compress(bytes(200_000)), ["gzip"], "too-large"), (pa.compress(bytes(10**6), "brotli", asbytes=True), ["br"], "too-large"),
    ],
)  # fmt: skip
def test_content_encodings(body: bytes, values: list[str], reason: str) -> None:
    """Known ones are taken off, unknown words ignored, as browsers do; a bomb is cut where --max_bytes says."""
    with sites(lambda request: http(body, "200 OK", *(f"Content-Encoding: {value}" for value in values))) as web:
        (result,) = web.fetch(["http://a.example/x"], ignore_robots=True, max_bytes=100_000)
    assert reason == (result.problem.reason if result.problem else "")
    assert (b"" if reason else PICTURE) == result.data


@given(
    st.binary(max_size=300),
    st.lists(st.sampled_from(["gzip", "br", "zstd", "deflate", "x"]), max_size=4),
    st.binary(max_size=9),
)
def test_encoding_and_back(content: bytes, names: list[str], damage: bytes) -> None:
    """What was encoded comes back; anything else is said to be none, and never more than may be."""
    pack = {
        "gzip": gzip.compress, "deflate": zlib.compress, "x": bytes,
        "br": lambda b: pa.compress(b, "brotli", asbytes=True), "zstd": lambda b: pa.compress(b, "zstd", asbytes=True),
    }  # fmt: skip
    body = content
    for name in names:
        body = pack[name](body)
    assert content == decoded(body, [", ".join(names)], 10_000)
    assert content[:100] == decoded_start(body, names, max(100, len(body) + 100))[:100]
    with contextlib.suppress(BadEncoding, TooLong):
        assert len(decoded(damage + body[5:], names, 400)) <= 400
    assert len(decoded_start(damage + body[5:], names, 50)) <= 50


def test_retry_after() -> None:
    """Seconds, or a date."""
    assert 7.0 == retry_after({"retry-after": ["7"]})
    assert 50 < retry_after({"retry-after": [formatdate(time.time() + 60, usegmt=True)]}) < 61
    assert (
        50
        < retry_after({"retry-after": [time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(time.time() + 60))]})
        < 61
    )
    assert 0.0 == retry_after({"retry-after": [formatdate(time.time() - 60)]}) == retry_after({})
    assert 0.0 == retry_after({"retry-after": ["soon"]})
    assert 1e6 < retry_after({"retry-after": ["9" * 5000]}) < float("inf")


dates = st.builds(
    "{} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Wed,", "", "x,", "Wed, 21"]),
    st.one_of(st.integers(-5, 10**6), st.just("Oct")),
    st.one_of(st.sampled_from(["Oct 2015", "Oct 99999", "Foo 0000", "Dec -1", "2015"]), st.text(max_size=8)),
    st.integers(-1, 10**7), st.integers(0, 99), st.integers(0, 10**9),
    st.one_of(st.sampled_from(["GMT", "EST", "", "+9999999999999999999999", "-0000", "+٩٩٩٩", "+" + "9" * 400]), st.text(max_size=8)),
)  # fmt: skip


@given(st.one_of(st.text(), dates, st.builds("²{}".format, st.integers())))
@example("Wed, 21 Oct 2015 07:28:00 +9999999999")
@example("Wed, 21 Oct 99999 07:28:00 GMT")
@example("٣")
@example("²")
def test_no_retry_after_can_raise(value: str) -> None:
    """It says how long to wait, or nothing."""
    assert 0.0 <= retry_after({"retry-after": [value]}) < float("inf")


NAMES = [
    "Retry-After",
    "X-Robots-Tag",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Location",
    "Set-Cookie",
    "Link",
]
VALUES = st.one_of(
    st.sampled_from([
        b"Wed, 21 Oct 2015 07:28:00 +9999999999999", b"9" * 6000, b"-1", b"\xb2", b"gzip, " * 500, b"http://[::", b"http://[v1.x]/",
        b"//\xff\xfe/", b"http://%00/", b"http://a:99999999999999999999/", b"\xc3\xa9" * 90, b"unavailable_after: :::", b"noai" + b"," * 3000,
        b"a" * 40_000, b"bytes 0-/", b"?" * 2000, b"http://xn--a-\xc3\xbc/", b"http://" + b"a." * 200 + b"/", b"../" * 500,
    ]),
    st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0")),
)  # fmt: skip
answers = st.tuples(
    st.sampled_from(["200 OK", "206 x", "301 x", "302 Found", "429 x", "503 x", "404 x"]),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), min_size=1, max_size=4),
)


@given(st.lists(answers, min_size=10, max_size=10))
@settings(max_examples=25)
def test_no_header_can_raise(parts: list[tuple[str, list[tuple[str, bytes]]]]) -> None:
    """A hostile header is the failure of its own link: good ones beside it are kept, and each ends with a reason."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loop, "_resolver", Resolver(lambda host: ()))

    def answer(request: Request) -> bytes | None:
        if request.path == "/good" or request.host != "a.example":
            return http(PICTURE)
        if not request.path[1:].isdigit():
            return None
        status, headers = parts[int(request.path[1:])]
        head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
        return b"HTTP/1.1 " + status.encode() + b"\r\n" + head + b"Connection: close\r\n\r\n" + PICTURE[:5000]

    with sites(answer) as web:
        urls = [url for n in range(len(parts)) for url in (f"http://a.example/{n}", "http://b.example/good")]
        options = web.options(("a.example", "b.example"), timeout=8.0, ignore_robots=True)
        results = {result.index: result for result in fetch(enumerate(urls), options)}
    patch.undo()
    assert list(range(len(urls))) == sorted(results)
    assert [PICTURE] * len(parts) == [results[n].data for n in range(1, len(urls), 2)]
    assert all(r.data if r.problem is None else r.problem.reason in REASONS for r in results.values())


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Location: /ok", "Location: /ok"], ""),
        (["Location: /ok", "Location: /other"], "bad-response"),
        (["Location: /a b"], ""),
        (["Location: /café/日本".encode()], ""),
        (["Location: /ok-caf\u00e9"], ""),
        (["Location: ?x=1"], ""),
        (["Location: //b.example/"], ""),
        (["Location: http://b\u00fccher.example/".encode()], ""),
        (["Location: "], "redirects"),
        (["Location: http://[::::]/"], "redirects"),
        (["Location: data:image/png;base64,AAAA"], "redirects"),
        (["Location: file:///etc/passwd"], "redirects"),
        ([], "redirects"),
    ],
)
def test_redirects(lines: list[str | bytes], reason: str) -> None:
    """As browsers follow them, in whatever bytes they are spelled."""

    def answer(request: Request) -> bytes:
        if request.path == "/start" and request.host == "a.example":
            return http(b"x" * 50_000, "302 Found", *lines)
        return http(f"{request.host}{request.path}".encode())

    with sites(answer) as web:
        hosts = ("b.example", "xn--bcher-kva.example")
        assert [reason] == web.reasons(["http://a.example/start"], more_hosts=hosts, ignore_robots=True)


@pytest.mark.parametrize(
    ("most", "expected"), [(0, ["redirects"] * 3), (1, ["", "redirects", "redirects"]), (3, ["", "", "redirects"])]
)
def test_redirects_are_counted(most: int, expected: list[str]) -> None:
    """One link by one; not those of a link before."""

    def answer(request: Request) -> bytes:
        steps = int(request.path[1:])
        return http(b"", "307 x", f"Location: /{steps - 1}") if steps else http()

    with sites(answer) as web:
        urls = [f"http://a.example/{steps}" for steps in (1, 3, 9)]
        assert expected == web.reasons(urls, max_redirects=most, ignore_robots=True)
