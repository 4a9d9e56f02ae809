"""Put a page together: one file, under a policy by which only its own script and style do anything in a browser.

A page's own room has a folder `page/` with its template, which extends `frame.html`, its scripts and its style; those
of `shared/` come before them. Scripts and styles are known to the browser by their hashes, so nothing that a caption
says could run even if escaping failed, and nothing at all is fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from schemas.folder import Folder, Staging

_SHARED_SCRIPTS = ("elements.js", "chrome.js", "pictures.js", "list.js")
_SHARED_STYLE = "common.css"
_FRAME = 16_000
"""Characters of a page's markup, at most."""


class Frame:
    """A kind of page.

    Args:
        package: whose folder `page/` holds `page.html`, `page.css` and the scripts.
        scripts: in the order in which they stand on the page.
    """

    def __init__(self, package: str, scripts: Iterable[str]) -> None:
        loader = ChoiceLoader([PackageLoader(package, "page"), PackageLoader("dalle.pages", "shared")])
        self._templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._script = self._joined(*_SHARED_SCRIPTS, *scripts)
        self._style = self._joined(_SHARED_STYLE, "page.css")
        self.size = len(self._script) + len(self._style) + _FRAME
        """Characters of a page of this kind without its data, at most."""

    def write(self, folder: Folder, name: str, **data: Any) -> None:
        """Write a page into a folder, whole or not at all; it is never whole in memory.

        Args:
            folder: where to.
            name: of the file.
            data: what the template asks for; an iterator is gone through as the page is written.
        """
        pieces = self._templates.get_template("page.html").generate(
            script=self._script,
            script_hash=_hash(self._script),
            style=self._style,
            style_hash=_hash(self._style),
            **data,
        )
        with Staging(folder) as staging:
            with staging.file(name) as file:
                for piece in pieces:
                    file.write(piece.encode())
            staging.publish()

    def _joined(self, *names: str) -> Markup:
        assert self._templates.loader is not None
        sources = (self._templates.loader.get_source(self._templates, name)[0] for name in names)
        return Markup("\n".join(sources))  # noqa: S704


def page_json(value: Any) -> Markup:
    """JSON that may stand in a page; the same value gives the same text."""
    return htmlsafe_json_dumps(value, sort_keys=True, separators=(",", ":"))


def base64_text(data: bytes) -> str:
    """Bytes as a page carries them."""
    return base64.b64encode(data).decode()


def bytes_in(characters: int) -> int:
    """How many bytes so many characters of a page can carry; negative if none."""
    return characters * 3 // 4 - 3


def measured(pieces: Iterable[str], sizes: list[int]) -> Iterator[str]:
    """The pieces as they are; their lengths in characters are appended to `sizes`."""
    for piece in pieces:
        sizes.append(len(piece))
        yield piece


def _hash(text: str) -> str:
    return base64_text(hashlib.sha256(text.encode()).digest())
