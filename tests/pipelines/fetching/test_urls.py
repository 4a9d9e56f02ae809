"""An address of a list means what it means to a browser, and libcurl, robots.txt and the guard read the same host."""

from __future__ import annotations

import re

import pycurl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.urls import Target
from tests.pipelines.fetching.sites import Request, http, sites

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
        ("http://_x.B\u00dcCHER.example/", "http://_x.xn--bcher-kva.example/"),
        ("http://FASS.example/", "http://fass.example/"),
        ("http://\u1e9e.example/", "http://xn--zca.example/"),
        ("http://\u03a3\u0391\u03a3.example/", "http://xn--mxa9ab.example/"),
        ("http://\u03b1\u03c2.example/", "http://xn--mxa8a.example/"),
        ("http://\u0130.example/", "http://xn--i-9bb.example/"),
        ("http://a\uff0eb\u3002c\uff61example/", "http://a.b.c.example/"),
        ("http://\uff21\u24d1\u2167.example/", "http://abviii.example/"),
        ("http://\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example/", "http://xn--mgba3gch31f060k.example/"),
        ("http://\u0915\u094d\u200d\u0937.example/", "http://xn--11b2ezcw70k.example/"),
        ("http://\u05d0\u05d1.example/", "http://xn--4dbc.example/"),
        ("http://XN--BCHER-KVA.example/", "http://xn--bcher-kva.example/"),
        ("http://xn--fa-hia.xn--ls8h./", "http://xn--fa-hia.xn--ls8h./"),
        ("http://-a.ab--c.example/", "http://-a.ab--c.example/"),
        ("http://u\u00dfer:p\u00e4ss@B\u00dcCHER.example:8080/", "http://u%C3%9Fer:p%C3%A4ss@xn--bcher-kva.example:8080/"),
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
        ("http://xn--a/", "not a host's name"), ("http://xn--/", "not a host's name"), ("http://xn--zca-a.example/", "not a host's name"),
        ("http://xn--B\u00dcCHER.example/", "not a host's name"), ("http://xn--xn--bcher-kva-x.example/", "not a host's name"),
        ("http://a\u200db.example/", "not a host's name"), ("http://\u200c.example/", "not a host's name"), ("http://xn--0ug.example/", "not a host's name"),
        ("http://\u0301a.example/", "not a host's name"), ("http://1\u05d0a.example/", "not a host's name"), ("http://a\u2488example/", "not a host's name"),
        ("http://a.example:\uff18\uff10/", "not a port"), ("http://a.example%2f.b/", "not a host's name"), ("http://a%00b/", "not a host's name"), ("http://a|b/", "not a host's name"),
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


FROM = "http://u:p@a.example/p/q/r.jpg?x=1&y"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (b"s.jpg", "http://u:p@a.example/p/q/s.jpg"), (b"/s.jpg", "http://u:p@a.example/s.jpg"), (b"../s.jpg?", "http://u:p@a.example/p/s.jpg?"),
        (b"?z", "http://u:p@a.example/p/q/r.jpg?z"), (b"#top", FROM), (b"", FROM), (b"  s.jpg\t", "http://u:p@a.example/p/q/s.jpg"),
        (b"//b.example/s;", "http://b.example/s;"), (b"\\\\b.example\\s", "http://b.example/s"), (b"///b.example/s", "http://b.example/s"),
        (b"\\s.jpg", "http://u:p@a.example/s.jpg"), (b"http:s.jpg", "http://u:p@a.example/p/q/s.jpg"), (b"HTTP:/s.jpg", "http://u:p@a.example/s.jpg"),
        (b"https:/b.example/s", "https://b.example/s"), (b"https:b.example/s", "https://b.example/s"), (b"HTTP:\\\\B.example\\s", "http://b.example/s"),
        (b"get/w_9//https://b.example/s;", "http://u:p@a.example/p/q/get/w_9//https://b.example/s;"), (b"/a b/./c/../d e", "http://u:p@a.example/a%20b/d%20e"),
        ("/\u00e9/日?\u00fc".encode(), "http://u:p@a.example/%C3%A9/%E6%97%A5?%C3%BC"), (b"/\xe9 \xff?\xfc", "http://u:p@a.example/%E9%20%FF?%FC"),
        ("//B\u00fccher.example/\u00fc".encode(), "http://xn--bcher-kva.example/%C3%BC"), ("http://fa\u00df。example".encode(), "http://xn--fa-hia.example/"),
        (b"http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"), (b"/s?a=1&amp;b=2", "http://u:p@a.example/s?a=1&amp;b=2"),
        (b"//b\xfccher.example/", "not a host's name"), (b"ftp://b.example/", "expected http"), (b"data:,x", "expected http"), (b"//", "names no host"),
        (b"x:y", "expected http"), (b"//xn--a/", "not a host's name"),
    ],
)  # fmt: skip
def test_redirects_as_browsers_read_them(location: bytes, expected: str) -> None:
    """Relative to the address that was asked; Latin-1 bytes are sent as they are, percent-encoded."""
    try:
        url = Target.of(FROM).redirected(location).url
    except ValueError as error:
        assert expected in str(error)
    else:
        assert expected == url


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


def test_a_redirect_to_letters_keeps_to_the_rules_there() -> None:
    """robots.txt of that name is asked for, once, by its ASCII form, and what it forbids is forbidden in any spelling."""
    spellings = [
        "http://STRA\u00dfe.example/s \u00e9",
        "//xn--strae-oqa.example/s%20%C3%A9",
        "http:////stra%C3%9Fe.example\\s \u00e9",
    ]

    def answer(request: Request) -> bytes | None:
        if request.host != "xn--strae-oqa.example":
            to = spellings[int(request.path[1:])] if request.path[1:].isdigit() else None
            return to and http(b"", "302 Found", b"Location: " + to.encode())
        return http("User-agent: *\nDisallow: /s \u00e9\n".encode()) if request.path == "/robots.txt" else http()

    with sites(answer) as web:
        urls = [f"http://rules.example/{number}" for number in range(3)]
        assert ["robots-txt"] * 3 == web.reasons(urls, more_hosts=("stra\u00dfe.example",))
    assert {"/robots.txt": 1} == {path: n for (host, path), n in web.requests.items() if host != "rules.example"}
