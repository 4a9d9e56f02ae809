"""robots.txt is read whatever it comes with, of every site a link leads to, for every name we go by."""

from __future__ import annotations

import gzip
import re
import time
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protego import Protego

from pipelines.fetching import loop, robots
from pipelines.fetching.bounded_cache import BoundedCache
from pipelines.fetching.robots import LONGEST, RobotsCache, Rules
from schemas.reasons import NotKept
from tests.pipelines.fetching.sites import NOT_FOUND, Request, http, sites

RULES = b"User-agent: *\nDisallow: /no\n"
FILLING = b"# a comment that says nothing at all\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered from other tests."""
    monkeypatch.setattr(loop, "_robots_cache", RobotsCache())


def long_one(rules_at: int) -> bytes:
    """A file of 900 KB with the rules at this byte."""
    before = b"User-agent: *\n" + FILLING * (rules_at // len(FILLING))
    return before + b"Disallow: /no\n" + FILLING * ((900_000 - len(before)) // len(FILLING))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(http(RULES), ["", "robots-txt"], id="plain"),
        pytest.param(http(RULES, "200 OK", "X-Robots-Tag: noai, noindex"), ["", "robots-txt"], id="X-Robots-Tag"),
        pytest.param(http(RULES, "200 OK", "X-Robots-Tag: none", "X-Robots-Tag: dalle-pipelines: noai"), ["", "robots-txt"], id="twice"),
        pytest.param(http(long_one(0)), ["", "robots-txt"], id="larger than --max_bytes"),
        pytest.param(http(long_one(LONGEST - 2000)), ["", "robots-txt"], id="rules just before 500 KiB"),
        pytest.param(http(long_one(LONGEST + 2000)), ["", ""], id="rules just after 500 KiB"),
        pytest.param(http(b"\xef\xbb\xbf" + RULES), ["", "robots-txt"], id="UTF-8 BOM"),
        pytest.param(http(b"\xff\xfe" + RULES.decode().encode("utf-16-le")), ["", "robots-txt"], id="UTF-16 BOM"),
        pytest.param(http(b"\xfe\xff" + RULES.decode().encode("utf-16-be")), ["", "robots-txt"], id="UTF-16 BOM, big"),
        pytest.param(http(RULES.replace(b"\n", b"\r\n")), ["", "robots-txt"], id="CRLF"),
        pytest.param(http(RULES.replace(b"\n", b"\r")), ["", "robots-txt"], id="CR"),
        pytest.param(http(gzip.compress(RULES), "200 OK", "Content-Encoding: gzip"), ["", "robots-txt"], id="gzip"),
        pytest.param(http(gzip.compress(long_one(9000)), "200 OK", "Content-Encoding: gzip"), ["", "robots-txt"], id="long gzip"),
        pytest.param(http(pa.compress(RULES, "brotli", asbytes=True), "200 OK", "Content-Encoding: br"), ["", "robots-txt"], id="br"),
        pytest.param(http(RULES, "200 OK", "Content-Type: image/jpeg"), ["", "robots-txt"], id="odd type"),
        pytest.param(http(RULES, "203 Non-Authoritative"), ["", "robots-txt"], id="203"),
        pytest.param(http(RULES, "429 Too Many"), ["rate-limited"] * 2, id="429 is no leave"),
        pytest.param(http(RULES, "408 Timeout"), ["timeout"] * 2, id="408 is no leave"),
        pytest.param(http(RULES, "500 Failed"), ["http-5xx"] * 2, id="500"),
        pytest.param(http(RULES, "999 Denied"), ["http-4xx"] * 2, id="999"),
        pytest.param(http(RULES, "2000 OK"), ["bad-response"] * 2, id="2000"),
        pytest.param(http(RULES, "206 Partial"), ["bad-response"] * 2, id="206"),
        pytest.param(b"nothing like HTTP\r\n\r\n", ["bad-response"] * 2, id="no HTTP"),
        pytest.param(http(b"", "401 Who are you"), ["", ""], id="401"),
        pytest.param(http(b"", "410 Gone"), ["", ""], id="410"),
        pytest.param(http(b"", "302 Found", "Location: ftp://elsewhere.example/"), ["", ""], id="leads away"),
        pytest.param(http(b"", "302 Found", "Location: /robots.txt"), ["", ""], id="leads round"),
        pytest.param(http(b"", "302 Found", "Location: http://10.0.0.1/robots.txt"), ["forbidden-address"] * 2, id="leads home"),
    ],
)  # fmt: skip
def test_robots_txt_counts_whatever_it_comes_with(answer: bytes, expected: list[str]) -> None:
    """RFC 9309: what can be had holds, what is missing allows, what cannot be had forbids."""
    with sites(lambda request: answer if request.path == "/robots.txt" else http()) as web:
        urls = ["http://a.example/yes", "http://a.example/no"]
        reasons = web.reasons(urls, max_bytes=10_000)
    assert (expected if len(expected) == 2 else expected * 2) == reasons


def test_a_redirect_asks_its_targets_robots_txt() -> None:
    """Of another host, of one in the middle, and of the same host for the path that it leads to."""

    def answer(request: Request) -> bytes:
        if request.path == "/robots.txt":
            return http(RULES) if request.host in ("b.example", "d.example") else NOT_FOUND
        to = {
            "/1": "http://b.example/no/x.jpg",
            "/2": "http://b.example/yes.jpg",
            "/3": "http://c.example/go",
            "/go": "http://b.example/no",
            "/4": "/5",
            "/5": "http://b.example/%6eo/../nothing",
            "/away": "/no/inside",
        }.get(request.path)
        return http(b"", "302 Found", f"Location: {to}") if to else http()

    with sites(answer) as web:
        urls = [f"http://a.example/{n}" for n in (1, 2, 3, 4)] + ["http://d.example/away"]
        reasons = web.reasons(urls, more_hosts=("b.example", "c.example"))
        assert ["robots-txt", "", "robots-txt", "robots-txt", "robots-txt"] == reasons
        asked = {
            host: web.requests[host, "/robots.txt"] for host in ("a.example", "b.example", "c.example", "d.example")
        }
        assert set(asked.values()) == {1}
        assert not [key for key in web.requests if key[1].startswith("/no")]
        assert [""] * 5 == web.reasons(urls, more_hosts=("b.example", "c.example"), ignore_robots=True)


def test_a_robots_txt_is_followed_five_times() -> None:
    """RFC 9309, 2.3.1.2; also to another host, and whatever --max_redirects says of pictures."""

    def answer(request: Request) -> bytes:
        match = re.fullmatch(r"/steps/(\d)/(\d)", request.path)
        if request.path == "/robots.txt":
            return http(b"", "301 Moved", f"Location: http://other.example/steps/{request.host[1]}/1")
        if match:
            most, step = map(int, match.groups())
            return http(RULES) if step == most else http(b"", "301 Moved", f"Location: {step + 1}")
        return http()

    with sites(answer) as web:
        urls = ["http://s5.example/no", "http://s6.example/no"]
        assert ["robots-txt", ""] == web.reasons(urls, more_hosts=("other.example",), max_redirects=0)


def test_what_is_asked_about_is_what_is_asked_for() -> None:
    """No spelling of a path gets past a rule and then to what it forbids."""
    with sites(lambda request: http(RULES) if request.path == "/robots.txt" else http()) as web:
        paths = [
            "no",
            "./no",
            "x/../no",
            "x/%2e%2E/no",
            "no?a b",
            " no".strip(),
            "%6eo",
            "\\no".lstrip("\\"),
            "x/..\\no",
            "n\to",
        ]
        assert ["robots-txt"] * len(paths) == web.reasons([f"http://a.example/{path}" for path in paths])
        assert [("a.example", "/robots.txt")] == list(web.requests)


GROUPS = (
    b"User-agent: curator\nDisallow: /c\n\nUser-agent: dalle-pipelines\nDisallow: /d\n\nUser-agent: *\nDisallow: /s\n"
)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, ["", "robots-txt", ""]),
        ("curator", ["robots-txt", "robots-txt", ""]),
        ("Curator", ["robots-txt", "robots-txt", ""]),
        ("other", ["", "robots-txt", "robots-txt"]),
        ("dalle-pipelines", ["", "robots-txt", ""]),
    ],
)
def test_both_names_count(token: str | None, expected: list[str]) -> None:
    """What is forbidden to the user's token, or to the default one that is sent beside it, is not fetched."""

    def answer(request: Request) -> bytes:
        if request.path == "/robots.txt":
            return http(GROUPS)
        return http(b"x", "200 OK", "X-Robots-Tag: dalle-pipelines: noai") if request.path == "/tag" else http()

    with sites(answer) as web:
        urls = ["http://a.example/c", "http://a.example/d", "http://a.example/s", "http://a.example/tag"]
        assert [*expected, "opted-out"] == web.reasons(urls, user_agent_token=token)


agents = st.sampled_from(["*", "dalle-pipelines", "DALLE-Pipelines/1.0", "googlebot", "dalle", "x*", "curator"])
lines = st.one_of(
    st.builds("User-agent: {}".format, agents),
    st.builds("{}: {}".format, st.sampled_from(["Disallow", "allow", "Crawl-delay"]), st.sampled_from(["/", "/a", "/a*b$", "", "/é"])),
    st.sampled_from(["", "# note", "Sitemap: http://x.example/", "nonsense", "useragent : * # all", "User-agent googlebot"]),
)  # fmt: skip


@given(st.lists(lines, max_size=25), st.sampled_from(["/", "/a", "/aXb", "/%C3%A9", "/other"]))
def test_leaving_other_agents_out_changes_nothing(content: list[str], path: str) -> None:
    """The groups that are kept say what the whole file says to us, where it spells our name as it is.

    Protego has any line end a list of agents, so it is shown none of those that are no rules.
    """
    text = "\n".join(
        line.replace("DALLE-Pipelines/1.0", "dalle-pipelines") for line in content if "dalle\n" not in line + "\n"
    )
    rules = Rules.of_answer(200, text.encode(), None, ("dalle-pipelines",))
    url = f"http://a.example{path}"
    told = "\n".join(line for line in text.splitlines() if not line.startswith("Crawl-delay"))
    assert Protego.parse(told).can_fetch(url, "dalle-pipelines") == (rules.refusal(url, "dalle-pipelines") is None)


NO_RULES = (
    "Crawl-delay: 5", "Content-Signal: ai-train=no", "Foo bar", "", "   ", "# a comment", "Sitemap: http://a.example/x", "Host: a",
    "Request-rate: 1/5", "Visit-time: 0600-0845", "Clean-param: a /", "Disallowed: /", "Allowance", "noindex: /", ":", "User-agents: x",
)  # fmt: skip
"""Lines that are no agent's, allow nothing and forbid nothing."""
group_lines = lines.filter(lambda line: not line.startswith("Crawl-delay"))


@given(st.data(), st.lists(group_lines, max_size=12), st.sampled_from(["/", "/a", "/aXb", "/%C3%A9", "/other"]))
def test_lines_that_are_no_rules_change_nothing(data: st.DataObject, content: list[str], path: str) -> None:
    """RFC 9309, 2.2.4: wherever they stand, also between the agents of a group."""

    def forbids(lines: list[str]) -> bool:
        rules = Rules.of_answer(200, "\n".join(lines).encode(), None, ("curator", "dalle-pipelines"))
        return rules.refusal(f"http://a.example{path}", "curator", "dalle-pipelines") is not None

    filled = list(content)
    for _ in range(data.draw(st.integers(1, 6))):
        filled.insert(data.draw(st.integers(0, len(filled))), data.draw(st.sampled_from(NO_RULES)))
    assert forbids(content) == forbids(filled)


@pytest.mark.parametrize("between", [*NO_RULES, "\n".join(NO_RULES)])
@pytest.mark.parametrize(
    ("first", "last"), [("*", "googlebot"), ("googlebot", "*"), ("curator", "x"), ("x", "curator"), ("* y", "x")]
)
@pytest.mark.parametrize("rule", ["Disallow: /", "disallow /", "Dissallow:/", "DISALLOW : / # all"])
def test_a_list_of_agents_goes_on_to_the_first_rule(first: str, last: str, between: str, rule: str) -> None:
    """What is forbidden to all agents of a group is forbidden to each."""
    text = f"User-agent: {first}\n{between}\nUser-agent: {last}\n{between}\n{rule}\n"
    assert Rules.of_answer(200, text.encode(), None, ("curator",)).refusal("http://a.example/x", "curator")


def test_names_with_versions_are_names() -> None:
    """RFC 9309: a product token ends before its version, and is compared without regard to case."""
    rules = Rules.of_answer(200, b"User-agent: DALLE-Pipelines/0.1 (any)\nDisallow: /\n", None)
    assert rules.refusal("http://a.example/", "dalle-pipelines")
    assert (
        Rules.of_answer(200, b"User-agent: dalle\nDisallow: /\n", None).refusal("http://a.example/", "dalle-pipelines")
        is None
    )


def test_a_hostile_robots_txt_costs_little() -> None:
    """Many names over many rules would take their product; wildcards must not be tried in every way."""
    begun = time.process_time()
    many = b"".join(b"User-agent: bot%d\n" % i for i in range(14_000)) + b"User-agent: *\n" + b"Disallow: /a\n" * 19_000
    wild = b"User-agent: *\nDisallow: /" + b"*a" * 2_000 + b"$\n"
    for body, forbidden in ((many, True), (wild, False)):
        rules = Rules.of_answer(200, body, None)
        refused = rules.refusal("http://a.example/" + "a" * 3_000 + "b", "dalle-pipelines")
        assert forbidden == (refused is not None)
    assert time.process_time() - begun < 3


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=60))
def test_a_cache_is_bounded_by_its_cost(puts: list[tuple[int, int]]) -> None:
    """Never more than it may cost; what was used last is still there."""
    cache: BoundedCache[int, int] = BoundedCache(100)
    for key, cost in puts:
        cache.put(key, cost, cost)
        assert cost == cache.get(key)
        assert cache.cost == sum(cache._values[k][1] for k in cache._values) <= 100


def test_what_is_remembered_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites with long files push each other out; the rules of few, and parsed ones, never take more than said."""
    monkeypatch.setattr(robots, "_REMEMBERED", 1 << 18)
    cache = RobotsCache()
    for number in range(60):
        rules = Rules.of_answer(200, b"User-agent: *\n" + b"Disallow: /%d\n" % number * 600, None)
        cache.put(f"http://h{number}.example", ("dalle-pipelines",), rules, 0.0)
        rules.refusal(f"http://h{number}.example/x", "dalle-pipelines")
        assert cache._rules.cost <= 1 << 18
    assert cache.get("http://h59.example", ("dalle-pipelines",), 1.0)
    assert cache.get("http://h0.example", ("dalle-pipelines",), 1.0) is None
    assert robots._parsed.cost <= robots._PARSED


@pytest.mark.parametrize(
    "line", ["Disallow: /{}", "Disallow: /*{}$", "Allow: /{}/index.html", "Disallow: /{}?a=é*&b=$"]
)
def test_a_parsed_file_costs_no_more_than_is_said(line: str) -> None:
    """What the cache counts is at least what Python allocates."""
    text = "User-agent: *\n" + "\n".join(line.format(i) for i in range(2_000))
    costs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robots._parsed, "put", lambda text, parsed, cost: costs.append(cost))
        robots._parse("User-agent: *\nDisallow: /warm-up")
        tracemalloc.start()
        parsed = robots._parse(text)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not parsed.can_fetch("http://a.example/1?a=é&b=$", "x") or "index" in line or "$" in line
    assert used <= costs[-1]


def test_problems_keep_their_reason() -> None:
    """A link fails for what its robots.txt failed for."""
    problem = NotKept("dns", "Could not resolve host: a.example")
    refusal = Rules.of_answer(0, b"", problem).refusal("http://a.example/", "dalle-pipelines")
    assert refusal == NotKept("dns", "robots.txt: Could not resolve host: a.example")
