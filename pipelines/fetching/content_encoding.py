"""Undo what a server did to a body, as browsers do: known encodings are taken off, unknown words are ignored.

Every request asks for none; but objects are stored with `Content-Encoding: gzip`, and stores of objects add words of
their own (`aws-chunked`) that say nothing of the bytes.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

_MOST_LAYERS = 5
"""Encodings on top of each other that are taken off; more are no honest answer."""
_CHUNK = 1 << 16


class BadEncoding(ValueError):
    """The bytes are not encoded as their headers say."""


class TooLong(ValueError):
    """The decoded body has more bytes than it may have."""


def decoded(body: bytes, values: Sequence[str], most: int) -> bytes:
    """The body without its encodings.

    Args:
        body: as it came.
        values: of the Content-Encoding headers, the one that was sent first first.
        most: bytes that it may have, after each step.

    Raises:
        BadEncoding: if the bytes are not what the headers say.
        TooLong: if it has more bytes than `most`.
    """
    for decoder in _decoders(values):
        pieces, size = [], 0
        for piece in decoder(body):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise TooLong
        body = b"".join(pieces)
    return body


def decoded_start(body: bytes, values: Sequence[str], most: int) -> bytes:
    """The first bytes of a body without its encodings, as far as they can be had; `most` at most."""
    for decoder in _decoders(values):
        start = b""
        with contextlib.suppress(BadEncoding):
            for piece in decoder(body):
                start += piece
                if len(start) >= most:
                    break
        body = start
    return body[:most]


def _decoders(values: Sequence[str]) -> list[Callable[[bytes], Iterator[bytes]]]:
    """What takes the encodings off, in the order in which they have to go."""
    names = [name for value in values for word in value.split(",") if (name := word.strip().lower()) in _DECODERS]
    if len(names) > _MOST_LAYERS:
        raise BadEncoding(f"{len(names)} encodings on top of each other")
    return [_DECODERS[name] for name in reversed(names)]


def _gzip(body: bytes) -> Iterator[bytes]:
    yield from _inflated(body, zlib.MAX_WBITS | 16, "gzip")


def _deflate(body: bytes) -> Iterator[bytes]:
    """Zlib's format as the standard says, or none around it, as some servers do."""
    has_header = len(body) >= 2 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    yield from _inflated(body, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS, "deflate")


def _inflated(body: bytes, format_bits: int, name: str) -> Iterator[bytes]:
    stream = zlib.decompressobj(format_bits)
    left = body
    try:
        while not stream.eof:
            piece = stream.decompress(left, _CHUNK)
            left = stream.unconsumed_tail
            if not piece and not left and not stream.eof:
                raise BadEncoding(f"its {name} data end too early")
            yield piece
    except zlib.error as error:
        raise BadEncoding(f"no {name} data: {error}") from None


def _arrow(codec: str) -> Callable[[bytes], Iterator[bytes]]:
    def pieces(body: bytes) -> Iterator[bytes]:
        try:
            with pa.CompressedInputStream(pa.py_buffer(body), codec) as stream:
                while piece := stream.read(_CHUNK):
                    yield piece
        except (OSError, pa.ArrowException) as error:
            raise BadEncoding(f"no {codec} data: {error}") from None

    return pieces


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _arrow("brotli"),
    "zstd": _arrow("zstd"),
}
