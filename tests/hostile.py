"""A web server that behaves as badly as the web does: each path is another way to answer wrongly.

It speaks raw sockets, in a process of its own: `python -m tests.hostile PICTURE` prints its ports (HTTP, HTTPS).
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

PICTURE = b""
seen: Counter[str] = Counter()
PORT = 0


def head(status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(body: bytes, kind: str = "image/jpeg", **headers: object) -> bytes:
    return head(Content_Type=kind, Content_Length=len(body), **headers) + body


async def drip(out: Writer, data: bytes, every: float = 0.05) -> None:
    for i in range(len(data)):
        out.write(data[i : i + 1])
        await out.drain()
        await asyncio.sleep(every)


async def for_ever(out: Writer, data: bytes) -> None:
    while True:
        out.write(data)
        await out.drain()


def reset(out: Writer) -> None:
    """Hang up without a goodbye."""
    sock: socket.socket = out.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    out.transport.abort()


def bomb(layers: int = 1) -> bytes:
    data = bytes(200 << 20)
    for _ in range(layers):
        data = gzip.compress(data, 9)
    return data


_BOMB = b""


async def good(out: Writer) -> None:
    out.write(whole(PICTURE))


async def drip_headers(out: Writer) -> None:
    await drip(out, head(Content_Length=10, X_Padding="a" * 10_000))


async def drip_body(out: Writer) -> None:
    out.write(head(Content_Length=100_000))
    await drip(out, PICTURE)


async def endless_body(out: Writer) -> None:
    out.write(head(Content_Type="image/jpeg"))
    await for_ever(out, bytes(1 << 16))


async def endless_headers(out: Writer) -> None:
    out.write(b"HTTP/1.1 200 OK\r\n")
    await for_ever(out, b"X-More: and more\r\n" * 100)


async def huge_header(out: Writer) -> None:
    out.write(b"HTTP/1.1 200 OK\r\nX-Huge: " + b"a" * (4 << 20) + b"\r\n\r\n")


async def short_body(out: Writer) -> None:
    out.write(head(Content_Length=len(PICTURE) + 1000) + PICTURE)


async def long_body(out: Writer) -> None:
    out.write(whole(PICTURE) + b"left over" * 100)


async def redirect_loop(out: Writer) -> None:
    out.write(head("302 Found", Location="/redirect_loop", Content_Length=0))


async def redirect_chain(out: Writer) -> None:
    seen["chain"] += 1
    out.write(head("301 Moved", Location=f"/redirect_chain?{seen['chain']}", Content_Length=0))


async def redirect_private(out: Writer) -> None:
    out.write(head("302 Found", Location="http://10.0.0.1/admin", Content_Length=0))


async def redirect_metadata(out: Writer) -> None:
    out.write(head("307 Temporary", Location="http://169.254.169.254/latest/meta-data/", Content_Length=0))


async def redirect_other_port(out: Writer) -> None:
    out.write(head("302 Found", Location="http://127.0.0.1:9/", Content_Length=0))


async def redirect_file(out: Writer) -> None:
    out.write(head("302 Found", Location="file:///etc/passwd", Content_Length=0))


async def redirect_nowhere(out: Writer) -> None:
    out.write(head("302 Found", Content_Length=0))


async def redirect_garbage(out: Writer) -> None:
    out.write(head("302 Found", Location="http://[:::::]/%%%", Content_Length=0))


async def reset_in_body(out: Writer) -> None:
    out.write(head(Content_Length=100_000) + PICTURE[:2000])
    await out.drain()
    await asyncio.sleep(0.2)
    reset(out)


async def reset_at_once(out: Writer) -> None:
    reset(out)


async def says_nothing_and_closes(out: Writer) -> None:
    pass


async def never_answers(out: Writer) -> None:
    await asyncio.sleep(600)


async def web_page(out: Writer) -> None:
    out.write(whole(b"<!DOCTYPE html><html><body>Buy this domain</body></html>", "text/html"))


async def page_called_picture(out: Writer) -> None:
    out.write(whole(b"<html>Not found</html>"))


async def noise(out: Writer) -> None:
    out.write(whole(bytes(range(256)) * 40))


async def gzip_bomb(out: Writer) -> None:
    out.write(whole(_BOMB, Content_Encoding="gzip"))


async def gzip_many_layers(out: Writer) -> None:
    out.write(whole(_BOMB, Content_Encoding=", ".join(["gzip"] * 40)))


async def gzip_of_a_picture(out: Writer) -> None:
    out.write(whole(gzip.compress(PICTURE), Content_Encoding="gzip"))


async def gzip_garbage(out: Writer) -> None:
    out.write(whole(b"this is not gzip at all", Content_Encoding="gzip"))


async def unknown_encoding(out: Writer) -> None:
    out.write(whole(PICTURE, Content_Encoding="rot13"))


async def busy_then_good(out: Writer) -> None:
    seen["busy"] += 1
    out.write(whole(PICTURE) if seen["busy"] > 1 else head("429 Too Many", Retry_After=1, Content_Length=0))


async def busy_for_an_hour(out: Writer) -> None:
    out.write(head("429 Too Many", Retry_After=3600, Content_Length=0))


async def down(out: Writer) -> None:
    out.write(head("503 Unavailable", Content_Length=0))


async def error_page_for_ever(out: Writer) -> None:
    out.write(head("404 Not Found"))
    await for_ever(out, b"sorry " * 1000)


async def closes_though_alive(out: Writer) -> None:
    out.write(whole(PICTURE, Connection="keep-alive"))


async def chunk_garbage(out: Writer) -> None:
    out.write(head(Transfer_Encoding="chunked") + b"xyz\r\nnot a chunk\r\n")


async def chunk_without_end(out: Writer) -> None:
    out.write(head(Transfer_Encoding="chunked") + b"FFFFFFFFFFFFFFFFFF\r\nabc")


async def chunk_cut(out: Writer) -> None:
    out.write(head(Transfer_Encoding="chunked") + b"1000\r\nabc")


async def chunks_of_one(out: Writer) -> None:
    out.write(head(Transfer_Encoding="chunked") + b"".join(b"1\r\n%c\r\n" % b for b in PICTURE) + b"0\r\n\r\n")


async def no_headers(out: Writer) -> None:
    out.write(PICTURE)


async def future_version(out: Writer) -> None:
    out.write(b"HTTP/9.9 200 OK\r\n\r\n" + PICTURE)


async def status_999(out: Writer) -> None:
    out.write(head("999 Request denied", Content_Length=0))


async def negative_length(out: Writer) -> None:
    out.write(head(Content_Length=-5) + PICTURE)


async def lengths_that_disagree(out: Writer) -> None:
    out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 500000\r\n\r\n" + PICTURE)


async def continue_for_ever(out: Writer) -> None:
    await for_ever(out, b"HTTP/1.1 100 Continue\r\n\r\n" * 10)


async def no_content(out: Writer) -> None:
    out.write(head("204 No Content"))


async def switching(out: Writer) -> None:
    out.write(head("101 Switching Protocols", Upgrade="websocket", Connection="Upgrade"))
    await asyncio.sleep(600)


async def nul_in_header(out: Writer) -> None:
    out.write(b"HTTP/1.1 200 OK\r\nX-Odd: a\0b\r\nContent-Length: 3\r\n\r\nabc")


async def opted_out(out: Writer) -> None:
    out.write(whole(PICTURE, X_Robots_Tag="noai, noimageai"))


async def second_answer_smuggled(out: Writer) -> None:
    out.write(whole(PICTURE) + whole(b"the answer to nobody's question", "text/plain"))


async def many_cookies(out: Writer) -> None:
    out.write(head(Content_Length=len(PICTURE), **{f"Set_Cookie{i}": "a" * 100 for i in range(50)}) + PICTURE)


MANNERS: dict[str, Callable[[Writer], Awaitable[None]]] = {
    name: value
    for name, value in list(globals().items())
    if asyncio.iscoroutinefunction(value) and list(value.__annotations__) == ["out", "return"]
}


async def serve(reader: Reader, out: Writer) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        while request := await reader.readuntil(b"\r\n\r\n"):
            name = request.split(b" ", 2)[1].decode("latin-1").lstrip("/").partition("?")[0]
            if name == "robots.txt":
                out.write(head("404 Not Found", Content_Length=0))
                continue
            await MANNERS[name](out)
            await out.drain()
            if name not in ("good", "second_answer_smuggled"):
                break
    out.close()


def certificate() -> ssl.SSLContext:
    """A context with a certificate that nobody vouches for."""
    with tempfile.TemporaryDirectory() as folder:
        key, cert = Path(folder, "key.pem"), Path(folder, "cert.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
    return context


async def main() -> None:
    global PICTURE, _BOMB
    PICTURE, _BOMB = Path(sys.argv[1]).read_bytes(), bomb()
    plain = await asyncio.start_server(serve, "127.0.0.1", 0)
    secure = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate())
    print(plain.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)  # until the test ends, however it does


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
