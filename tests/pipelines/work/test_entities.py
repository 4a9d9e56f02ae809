"""A link with `&amp;` in it is asked for as given, and then, only where that may be why it failed, with `&`."""

from __future__ import annotations

import hashlib
import io
import itertools

import pytest

from dalle.scenes import compose, draw
from pipelines.fetching.entities import without_entities
from pipelines.sample_web.pictures import encoded
from pipelines.stages.filter import FilteredCaptions, FilterOptions
from pipelines.stages.verify_hash import HashOptions
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.journey import Journey
from pipelines.work.record import Record
from schemas.reasons import REASONS
from tests.pipelines.fetching.sites import NOT_FOUND, Request, http, sites

PICTURE = encoded(draw(compose(1, 64, 64)), "png")
OTHER = encoded(draw(compose(2, 64, 64)), "png")
PAGE = http(b"<!DOCTYPE html><title>No such picture</title>")
hosts = itertools.count()


def collect(answers: dict[str, bytes], urls: list[str], hashes: HashOptions | None = None, **fetching: object):
    """Ledger columns of links of one new host, and what it was asked for, in turn, robots.txt first."""
    host, asked = f"h{next(hosts)}.example", []

    def answer(request: Request) -> bytes | None:
        asked.append(request.path)
        return answers.get(request.path, None if request.path == "/robots.txt" else NOT_FOUND)

    with sites(answer) as web:
        options = IngestOptions(
            filtering=FilterOptions(filters="none"),
            fetching=web.options((host,), **fetching),
            hashes=hashes or HashOptions(),
        )
        rows = [
            {"url": f"http://{host}{url}", "captions": ["words"], "place": None, "problem": None, "sum": SUM}
            for url in urls
        ]
        records = [Record.begin(i, f"{i:05d}", row, FilteredCaptions(), "sum") for i, row in enumerate(rows)]
        fates = list(Journey.of_options(options).fates(records, io.BytesIO()))
    assert sorted(fate.record.index for fate in fates) == list(range(len(urls))), "each row has one fate"
    assert [record.columns["url"] for record in records] == [row["url"] for row in rows], "as given"
    return [record.columns for record in records], asked


SUM = hashlib.sha256(PICTURE).hexdigest()
AS_GIVEN, PLAIN = "/x?a=1&amp;b=2", "/x?a=1&b=2"


@pytest.mark.parametrize(
    ("given", "plain", "reason", "requests"),
    [
        (http(PICTURE), http(OTHER), None, 1),
        *((http(b"", f"{status} x"), http(PICTURE), None, 2) for status in (400, 401, 403, 404, 406, 410, 451, 999)),
        (PAGE, http(PICTURE), None, 2),
        (http(b""), http(PICTURE), None, 2),
        (http(b"", "302 x", "Location: ftp://a/"), http(PICTURE), None, 2),
        (http(b"", "302 x", "Location: /x?a=1&b=2"), http(PICTURE), None, 1),
        (http(b"", "500 x"), http(PICTURE), "http-5xx", 1),
        (http(b"", "503 x"), http(PICTURE), "http-5xx", 1),
        (http(b"", "429 x"), http(PICTURE), "rate-limited", 1),
        (http(PICTURE, "200 OK", "X-Robots-Tag: noai"), http(PICTURE), "opted-out", 1),
        (http(PICTURE, "200 OK", "Content-Encoding: gzip"), http(PICTURE), "bad-response", 1),
        (http(PICTURE[:-40]), http(PICTURE), "truncated", 1),
        (NOT_FOUND, NOT_FOUND, "http-404", 2),
        (http(b"", "403 x"), http(b"", "410 x"), "http-410", 2),
        (http(b"", "400 x"), PAGE, "not-an-image", 2),
        (NOT_FOUND, http(b"", "503 x"), "http-5xx", 2),
        (NOT_FOUND, http(PICTURE, "200 OK", "X-Robots-Tag: noai"), "opted-out", 2),
    ],
)
def test_which_is_asked_for(given: bytes, plain: bytes, reason: str | None, requests: int) -> None:
    """The second only after an end that does not pass and may be the address's; the ledger says what was asked for."""
    ((row,), asked) = collect({AS_GIVEN: given, PLAIN: plain}, [AS_GIVEN])
    assert reason == row["reason"]
    assert ["/robots.txt", AS_GIVEN] == asked[:2]
    assert requests - 1 == asked.count(PLAIN) - (b"Location: /x" in given)
    assert 1 == asked.count(AS_GIVEN)
    assert ("success" if reason is None else REASONS[reason].status) == row["status"]
    message = row["error_message"] or ""
    assert (requests == 2) == (f"asked for as http://{row['url'].split('/')[2]}{PLAIN}, after as given: " in message)
    if reason is None and given != http(PICTURE):
        assert (64, hashlib.sha256(PICTURE).hexdigest()) == (row["original_width"], row["sha256"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        *((f"/x?a=1{entity}b=2", "/x?a=1&b=2") for entity in
          ("&amp;", "&AMP;", "&Amp;", "&#38;", "&#038;", "&#x26;", "&#X26;", "&#x0026;", "&amp;amp;", "&amp;#38;", "&#38;amp;amp;")),
        ("/x&amp;y.jpg", "/x&y.jpg"), ("/x?a&amp;b&c&#38;d", "/x?a&b&c&d"),
        *((url, None) for url in
          ("/x", "/x?a=1&b=2", "/x?a=1&amp=2", "/x?a=1&ampb;", "/x?&lt;", "/x?a=1%26amp;b", "/x#a&amp;b", "/x?a&#39;b", "/x?amp;b", "/x?&#380;")),
    ],
)  # fmt: skip
def test_what_is_an_entity(url: str, expected: str | None) -> None:
    """Every way HTML has of writing `&` with its semicolon, also several in turn; nothing else is ever asked for twice."""
    expected = expected and f"http://a.example{expected}"
    assert {expected} == {without_entities(f"http://a.example{url}", reason) for reason in ("http-404", "not-an-image")}
    assert {None} == {without_entities(f"http://a.example{url}", r) for r in REASONS if REASONS[r].transient}
    assert (
        without_entities(f"ftp://a.example{url}", "bad-url") is without_entities(f"http://a.example{url}", None) is None
    )


def test_the_second_request_is_a_request_like_any() -> None:
    """Retried while its failure may pass, kept from what robots.txt forbids, one row a link, whatever its neighbours do."""
    robots = http(b"User-agent: *\nDisallow: /*&c=3\n")
    rows, asked = collect(
        {"/robots.txt": robots, "/y?a&b": http(b"", "503 x"), "/z": http(PICTURE), "/w?a&b": http(PICTURE)},
        ["/y?a&amp;b", "/x?a&amp;c=3", "/z", "/w?a&#x26;b", "/v"],
        retries=1,
    )
    assert ["http-5xx", "robots-txt", None, None, "http-404"] == [row["reason"] for row in rows]
    assert [1, 2, 1, 0, 1, 1, 1, 1] == [
        asked.count(path)
        for path in ("/y?a&amp;b", "/y?a&b", "/x?a&amp;c=3", "/x?a&c=3", "/z", "/w?a&", "/w?a&b", "/robots.txt")
    ]
    assert "HTTP 404" == rows[4]["error_message"]


def test_a_sum_tells_which_address_was_meant() -> None:
    """A server that knows no `amp;b` may answer with another picture; where the list has a sum, that is seen."""
    answers = {AS_GIVEN: http(OTHER), PLAIN: http(PICTURE)}
    assert [None, SUM] == [
        collect(answers, [AS_GIVEN], HashOptions(verify_hash=("sum", "sha256")))[0][0][n] for n in ("reason", "sha256")
    ]
    assert SUM != collect(answers, [AS_GIVEN])[0][0]["sha256"]
