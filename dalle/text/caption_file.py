"""Captions in a file: one in each line, or an object in each line of a `.jsonl`, with `caption` and perhaps `id`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.json_text import parse_json
from schemas.planning import check_is_there, is_planning
from schemas.regular_file import check_regular


def caption_lines(file: str) -> Iterator[tuple[str, str]]:
    """Caption and id of each line, the id empty where there is none; empty lines at the end are none.

    Args:
        file: its path, or - for standard input.

    Raises:
        ValueError: if it is not text, is JSON otherwise than in lines, or a line of a `.jsonl` is no such object.
        OSError: if it cannot be read.
    """
    if file.lower().endswith(".json"):
        raise ValueError(
            f"{file}: is JSON, expected a caption in each line, or a .jsonl with an object in each; python -m "
            "dalle.evaluate --captions all --captions_from makes those of COCO's captions"
        )
    if file == "-":
        content = sys.stdin.buffer.read()
    else:
        if is_planning():
            check_is_there(file)
        check_regular(file)
        content = Path(file).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: byte {error.start} is not UTF-8; expected a caption in each line") from None
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        yield _of_json(line, f"{file}: line {number}") if file.endswith(".jsonl") else (line, "")


def _of_json(line: str, where: str) -> tuple[str, str]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error})") from None
    caption, identity = (value.get("caption"), value.get("id", "")) if isinstance(value, dict) else (None, "")
    if not isinstance(caption, str) or not isinstance(identity, (str, int)):
        raise ValueError(f"{where}: expected an object with a caption that is text, and perhaps an id")
    return caption, str(identity)
