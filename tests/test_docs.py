"""The pages hold together: a link leads somewhere, and the site of `make docs` says what the repository's pages say."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
INLINE = ("a", "code", "em", "span", "strong")
COUNTED = ("h1", "h2", "h3", "h4", "li", "tr", "pre", "code", "img", "strong", "em")


def listed() -> frozenset[str]:
    """Files of the repository, committed or about to be."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return frozenset(name for name in names.split("\0") if (ROOT / name).is_file())


FILES = listed()
PAGES = sorted(name for name in FILES if name.endswith(".md"))


@functools.cache
def tokens(page: str) -> list[Token]:
    """All of a page, with what stands inside of its paragraphs."""
    blocks = MARKDOWN.parse((ROOT / page).read_text())
    return [each for block in blocks for each in (block, *(block.children or ()))]


@functools.cache
def anchors(page: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    found: Counter[str] = Counter()
    names = set()
    for opening, text in zip(tokens(page), tokens(page)[1:], strict=False):
        if opening.type == "heading_open":
            words = "".join(part.content for part in text.children or ())
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            names.add(f"{name}-{found[name]}" if found[name] else name)
            found[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To a file of the repository, and to a heading that is there; other hosts are not asked."""
    targets = [each.attrs.get("href") or each.attrs.get("src") for each in tokens(page)]
    for target in map(str, filter(None, targets)):
        link = urlsplit(target)
        if link.scheme in ("http", "https"):
            continue
        path = os.path.normpath(Path(page).parent / unquote(link.path)) if link.path else page
        assert path in FILES, f"{page}: {target} leads to no file of the repository"
        assert not link.fragment or unquote(link.fragment) in anchors(path), f"{page}: {path} has no {target}"


@pytest.mark.parametrize("page", PAGES)
def test_only_comments_are_html(page: str) -> None:
    """Anything else would be a tag to one reader and text to another."""
    html = [each.content.strip() for each in tokens(page) if each.type in ("html_block", "html_inline")]
    assert [] == [piece for piece in html if not re.fullmatch(r"<!--.*?-->", piece, re.DOTALL)]


class Outline(HTMLParser):
    """The text of a page, how often it has each kind of element, and what it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: Counter[str] = Counter()
        self.fetched: list[str] = []
        self._left_out = 0  # inside a link that the site adds to each heading
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.text += "" if tag in INLINE else " "
        self._left_out += "headerlink" in (given.get("class") or "")
        if tag in COUNTED:
            self.elements[tag] += 1
        if tag != "a" and given.get("rel") != "canonical":
            self.fetched += filter(None, (given.get(name) for name in ("src", "srcset", "href", "data", "poster")))

    def handle_endtag(self, tag: str) -> None:
        self.text += "" if tag in INLINE else " "
        self._left_out -= bool(self._left_out) and tag == "a"

    def handle_data(self, data: str) -> None:
        self.text += "" if self._left_out else data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it: a link or a page that is not in order ends the build."""
    built = tmp_path_factory.mktemp("docs") / "site"
    words = ["mkdocs", "build", "--strict", "--site-dir", str(built)]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return built


def test_the_site_has_every_page(site: Path) -> None:
    """README.md as its first; of the others, those of docs/ and what they lead to; nothing that is no page."""
    there = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"404.html"}
    pages = {"index.html", "ARCHITECTURE.html", "CHANGELOG.html"}
    assert there == pages | {
        f"{page.removesuffix('.md')}.html" for page in PAGES if page.startswith(("docs/", "dalle/"))
    }
    assert [] == [path for path in site.rglob("*") if path.suffix in (".py", ".pyc", ".md")]


def test_the_site_says_what_the_pages_say(site: Path) -> None:
    """Word for word, with as many headings, tables and lists: the two dialects of Markdown agree on each page."""
    for page in PAGES:
        name = "index.html" if page == "README.md" else f"{page.removesuffix('.md')}.html"
        if (site / name).exists():
            article = re.search(r"<article.*?</article>", (site / name).read_text(), re.DOTALL)
            assert article, page
            ours, theirs = Outline(MARKDOWN.render((ROOT / page).read_text())), Outline(article[0])
            assert ours.text.split() == theirs.text.split(), page
            assert ours.elements == theirs.elements, page


def test_the_site_asks_no_other_host(site: Path) -> None:
    """No font, script, style or picture of a page comes from elsewhere."""
    for path in site.rglob("*.html"):
        page = Outline(path.read_text())
        assert page.fetched, path
        assert [] == [
            each for each in page.fetched if urlsplit(each).netloc or urlsplit(each).scheme not in ("", "data")
        ]
    for path in site.rglob("*.css"):
        assert [] == re.findall(r"(?:url\(|@import)\s*[\"']?(?!data:)(?:\w+:)?//[^)]*", path.read_text()), path
