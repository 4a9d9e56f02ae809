"""The items of an array in a JSON file, one at a time, by the parser of JSONL: what it takes in a line, such as NaN or
an integer of any size, it takes here."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from pipelines.lists.text import LONGEST_LINE
from schemas.json_text import check_depth

_AT_ONCE = 1 << 16
_NUMBER_GOES_ON = 4
"""Characters behind a number that tell whether it ends there: `1.` and `1e+` may go on."""
_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(strict=False)


def json_items(file: IO[bytes], prefix: str, path: str) -> Iterator[Any]:
    """The items of an array in a JSON file; one whose values lie too deep in one another is the error that says so.

    Args:
        file: as `open_text` gives it.
        prefix: the member whose value the array is, or the empty string if the whole file is one.
        path: of the file, for messages.

    Raises:
        ValueError: if the file is not JSON, or has no such array.
    """
    text = _Text(file, path)
    found = not prefix and text.peek() == "["
    if found:
        yield from text.items()
    elif prefix and text.peek() == "{":
        for name in text.members():
            wanted = name == prefix and text.peek() == "["
            found = found or wanted
            for item in text.items() if text.peek() == "[" else [text.value()]:
                if wanted:
                    yield item
    if not found:
        where = f"at '{prefix}'" if prefix else "of objects; if it has an object a line, give --input_format jsonl"
        raise ValueError(f"{path}: has no array {where}")
    if text.peek():
        raise text.wrong("something follows its end")


class _Text:
    """What was read and not yet parsed of a file."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file, self._path = file, path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def wrong(self, what: str) -> ValueError:
        """The error that says what is wrong at the place where reading stands."""
        return ValueError(f"{self._path}: not the JSON expected ({what}, at character {self._before + self._at + 1:,})")

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def items(self) -> Iterator[Any]:
        """Of the array that begins here."""
        self._take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self._take(",")
                if self.peek() == "]":
                    raise self.wrong("a comma and no value behind it")
        self._take("]")

    def members(self) -> Iterator[Any]:
        """Names in the object that begins here; the value of each is to be read before the next."""
        self._take("{")
        while self.peek() != "}":
            name = self.value()
            self._take(":")
            yield name
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def value(self) -> Any:
        """The value that begins here, or the error that it lies too deep."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end + _NUMBER_GOES_ON <= len(self._text) or not self._more():
                    self._at = end
                    return _not_too_deep(value)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > LONGEST_LINE:
                    raise self.wrong(f"a value of more than {LONGEST_LINE:,} characters") from None
                if not self._more():
                    if error.pos >= len(self._text) or error.msg.startswith("Unterminated string"):
                        raise self.wrong("it is cut off in the value that begins here; get it anew") from None
                    self._at = error.pos
                    raise self.wrong(error.msg) from None
            except RecursionError:
                raise self.wrong("its values lie too deep in one another") from None
            except ValueError as error:  # a number of more digits than Python takes
                raise self.wrong(str(error)) from None

    def _take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            raise self.wrong(f"'{found}', expected '{expected}'" if found else "it is cut off; get it anew")
        self._at += 1

    def _more(self) -> bool:
        """Reads as much again as is there, so that a long value is parsed few times; whether there was something."""
        while not self._ended:
            data = self._file.read(max(_AT_ONCE, len(self._text) - self._at))
            self._ended = not data
            if text := self._decoder.decode(data, not data):
                self._before += self._at
                self._text, self._at = self._text[self._at :] + text, 0
                return True
        return False


def _not_too_deep(value: Any) -> Any:
    try:
        check_depth(value)
    except ValueError as error:
        return error
    return value
