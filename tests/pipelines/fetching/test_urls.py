"""An address of a list means what it means to a browser, and libcurl, robots.txt and the guard read the same host."""

from __future__ import annotations

import re

import pycurl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.urls import Target
from tests.pipelines.fetching.sites import http, sites

SPELLED = re.compile(r"https?://(?:[!-~]*@)?(?:[a-z0-9_.-]+|\[[0-9a-f:.]+(?:%25[A-Za-z0-9_.-]+)?\])(?::\d+)?/[!-~]*")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/b.jpg", "http://a.example/b.jpg"),
        ("  HTTP://A.Example:80/b.jpg\n", "http://a.example/b.jpg"),
        ("https://a.example:443/", "https://a.example/"),
        ("https://a.example:80", "https://a.example:80/"),
        ("http://a.example?x=1", "http://a.example/?x=1"),
        ("http://a.example/b.jpg#part", "http://a.example/b.jpg"),
        ("http://a.example/a b.jpg", "http://a.example/a%20b.jpg"),
        ("http://a.example/a%20b.jpg?c=d e", "http://a.example/a%20b.jpg?c=d%20e"),
        ("http://a.example/a\tb\r\nc", "http://a.example/abc"),
        ("http://a.example/caf\u00e9/日本.jpg?ß=\u00fc", "http://a.example/caf%C3%A9/%E6%97%A5%E6%9C%AC.jpg?%C3%9F=%C3%BC"),
        ('http://a.example/"<>`{}^|?"<>`{}^|\'', "http://a.example/%22%3C%3E%60%7B%7D%5E|?%22%3C%3E`{}^|%27"),
        ("http://a.example/100%/%zz", "http://a.example/100%/%zz"),
        ("http://a.example/a/../b/./c/%2e%2E/d", "http://a.example/b/d"),
        ("http://a.example/../..", "http://a.example/"),
        ("http://a.example/a/b/..", "http://a.example/a/"),
        ("http://a.example\\b\\c?d\\e", "http://a.example/b/c?d\\e"),
        ("http://b\u00fccher.example/ok", "http://xn--bcher-kva.example/ok"),
        ("http://B\u00dcCHER.example/ok", "http://xn--bcher-kva.example/ok"),
        ("http://bu\u0308cher.example/ok", "http://xn--bcher-kva.example/ok"),
        ("http://日本語。jp/", "http://xn--wgv71a119e.jp/"),
        ("http://fa\u00df.example/", "http://xn--fa-hia.example/"),
        ("http://💩.example/", "http://xn--ls8h.example/"),
        ("http://under_score.example/", "http://under_score.example/"),
        ("http://ex%61mple.com/", "http://example.com/"),
        ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
        ("http://user:p@ss@a.example/", "http://user:p%40ss@a.example/"),
        ("http://evil.example\\@a.example/", "http://evil.example/@a.example/"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
        ("http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/"),
    ],
)  # fmt: skip
def test_addresses_as_browsers_read_them(url: str, expected: str) -> None:
    """https://url.spec.whatwg.org, as far as pictures go."""
    assert expected == Target.of(url).url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://a.example/", "expected http://"), ("//a.example/", "expected http://"), ("a.example/x.jpg", "expected http://"),
        ("javascript:alert(1)", "expected http://"), ("", "expected http://"), ("http:a.example", "expected http://"),
        ("http://", "names no host"), ("http:///x", "names no host"), ("http://a b/", "not a host's name"),
        ("http://a..b/", "not a host's name"), ("http://a.example:0/", "not a port"), ("http://a.example:99999/", "not a port"),
        ("http://a.example:٣/", "not a port"), ("http://[::1/", "not an IPv6 address"), ("http://[x]/", "not an IPv6 address"),
        ("http://[::1]x/", "not an IPv6 address"), ("http://[::1%]/", "not an IPv6 address"), ("http://1.2.3.256/", "IPv4 address and is none"),
        ("http://1.2.3.4.5/", "IPv4 address and is none"), ("http://0x1ffffffff/", "IPv4 address and is none"),
        ("http://1.09/", "IPv4 address and is none"), ("http://a.1/", "IPv4 address and is none"), ("http://a\u00ad\u200d.example\ufffe/", "not a host's name"),
        ("http://" + "a" * 5000 + "@b.example/", "characters long"), ("http://" + "a." * 200 + "example/", "not a host's name"),
        ("http://a.example%2f.b/", "not a host's name"), ("http://a%00b/", "not a host's name"), ("http://a|b/", "not a host's name"),
    ],
)  # fmt: skip
def test_addresses_that_are_none(url: str, words: str) -> None:
    """One sentence each."""
    with pytest.raises(ValueError, match=words):
        Target.of(url)


odd = st.text(alphabet="abcXYZ019./\\:@?#[]%&= \t\u00e9日。\u00ad-_~'\"<>{}|^`\x00\x7f", max_size=30)


@given(
    st.builds(
        "{}{}".format,
        st.sampled_from(["http://", "https://", "HTTP:/\\", "http://u:p@", "http://[", "http://a.example/"]),
        odd,
    )
)
@settings(max_examples=200)
def test_what_is_understood_is_spelled_plainly(url: str) -> None:
    """Printable ASCII with a host that libcurl reads as ours, and the same again from itself; or one sentence."""
    try:
        target = Target.of(url)
    except ValueError as error:
        assert str(error)
        return
    assert SPELLED.fullmatch(target.url), target.url
    assert target == Target.of(target.url)
    assert target.url.startswith(target.site.partition("://")[0])
    read = pycurl.CurlUrl(target.url)
    assert target.host == (read.host or "").strip("[]") + (
        f"%{read.zoneid}" if ":" in target.host and read.zoneid else ""
    )
    assert str(target.port) == read.getpart(pycurl.UPART_PORT, pycurl.U_DEFAULT_PORT)


@given(odd, st.binary(max_size=30))
@settings(max_examples=100)
def test_a_redirect_leads_to_an_address_or_nowhere(path: str, location: bytes) -> None:
    """Whatever bytes a Location is made of."""
    try:
        start = Target.of(f"http://a.example/{path}")
        assert SPELLED.fullmatch(start.redirected(location).url)
    except ValueError as error:
        assert str(error)


def test_addresses_are_sent_so() -> None:
    """What the server is asked for, by which host; also where --connect_to spells the host in its own letters."""
    with sites(lambda request: http()) as web:
        urls = [
            "http://b\u00fccher.example/a b.jpg",
            "http://B\u00dcCHER.example/ok.jpg?a=b c",
            "http://xn--bcher-kva.example/日本",
        ]
        for mapped in ("xn--bcher-kva.example", "b\u00fccher.example"):
            assert [""] * 3 == web.reasons(urls, connect_to=(f"{mapped}:80:127.0.0.1:{web.port}",), ignore_robots=True)
    paths = {"/a%20b.jpg", "/ok.jpg?a=b%20c", "/%E6%97%A5%E6%9C%AC"}
    assert {("xn--bcher-kva.example", path): 2 for path in paths} == dict(web.requests)
