"""What a link's address means, spelled once for all: what is asked of robots.txt is what is asked of the server.

An address of a list is read as browsers read it (https://url.spec.whatwg.org): blanks around it and line ends inside it
go, blanks and letters outside ASCII are percent-encoded, names outside ASCII become their ASCII form, numbers are IPv4
addresses in any base, `..` is resolved. What libcurl gets is put together again from the parts, so that it cannot read
another host from it than was checked here.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes

import idna

_PORTS = {"http": 80, "https": 443}
_CLEAN = re.compile(
    r"(https?)://([A-Za-z0-9.:_-]+)(/[A-Za-z0-9/_.~!$&()*+,;=:@%|-]*(?:\?[A-Za-z0-9/_.~!$&()*+,;=:@%|?-]*)?)"
)
"""Addresses of which nothing has to be changed but, perhaps, the host; by far the most."""
_DOTTED_STEP = re.compile(r"/(?:\.|%2e)", re.IGNORECASE)
_PARTS = re.compile(r"(https?):[/\\]{2}([^/\\?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)([/\\]{2,})?")
_WEB = re.compile(r"https?:", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_ZONE = re.compile(r"%(?:25)?([A-Za-z0-9_.-]+)")
_DOT = re.compile(r"\.|%2e", re.IGNORECASE)
_LEFT_IN_USER = "!$&'()*+,;=:%~"
_LEFT_IN_PATH = "!$&'()*+,;=:@/%~|[]"
_LEFT_IN_QUERY = "!$&()*+,;=:@/?%~|[]{}^`\\"
_LONGEST_AUTHORITY = 1000
_JOINERS = "\u200c\u200d"
_SLASHES = "/\\"
_BLANKS = "".join(map(chr, range(0x21)))
_LINE_ENDS = str.maketrans("", "", "\t\r\n")


@dataclass(frozen=True, slots=True)
class Target:
    """Where one request goes."""

    url: str
    """The whole address, of printable ASCII characters, without fragment."""
    host: str
    """A name in lower-case ASCII, or a numeric address without brackets."""
    port: int
    site: str
    """What one robots.txt answers for: scheme, host, and the port if it is not the scheme's own."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Understand an address of a list.

        Raises:
            ValueError: says what is wrong with it.
        """
        clean = _CLEAN.fullmatch(url)
        if clean and not _DOTTED_STEP.search(url, clean.start(3)):
            scheme, authority, rest = clean.groups()
        else:
            scheme, authority, rest = _cleaned(url)
        if len(authority) > _LONGEST_AUTHORITY:
            raise ValueError(f"'{authority[:40]}...' is {len(authority)} characters long, and names a host")
        user, host, port, where = _authority(scheme, authority)
        site = f"{scheme}://{where}"
        return cls(f"{scheme}://{user}{where}{rest}" if user else site + rest, host, port, site)

    def redirected(self, location: bytes) -> Target:
        """Where a redirect from here leads.

        Raises:
            ValueError: if it leads to no such address.
        """
        try:
            text = location.decode()
        except UnicodeDecodeError:
            text = quote(location, "".join(map(chr, range(0x80))))
        return Target.of(self._joined(text.strip(_BLANKS).translate(_LINE_ENDS)))

    def _joined(self, text: str) -> str:
        """As browsers do; urllib's `urljoin` drops empty steps, blank queries and `;`, and knows no backslash."""
        scheme, authority = self.url.split("/")[::2][:2]
        absolute = _ABSOLUTE.match(text)
        if absolute and (absolute[2] or absolute[1].lower() != scheme):
            return f"{absolute[1]}//{text[absolute.end(1) :].lstrip(_SLASHES)}" if _WEB.fullmatch(absolute[1]) else text
        text = text[absolute.end(1) :] if absolute else text
        start = text[:2].replace("\\", "/")
        if start == "//":
            return f"{scheme}//{text.lstrip(_SLASHES)}"
        path = self.url.partition("?")[0]
        if start[:1] == "/":
            return f"{scheme}//{authority}{text}"
        if start[:1] in ("?", "#", ""):
            return (path if start[:1] == "?" else self.url) + text
        return path[: path.rindex("/") + 1] + text

    @property
    def numeric(self) -> bool:
        """Whether the host is an address already, and no name to be looked up."""
        return is_numeric(self.host)


def is_numeric(host: str) -> bool:
    """Whether a host as in `Target` is a numeric address."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def _cleaned(url: str) -> tuple[str, str, str]:
    """Scheme, authority as it is, and path and query as they are sent."""
    url = url.encode("utf-8", "replace").decode().strip(_BLANKS).translate(_LINE_ENDS).strip()
    parts = _PARTS.match(url)
    if not parts:
        raise ValueError(f"expected http:// or https://, found '{url[:40]}'")
    path, query = parts[3], parts[4]
    return parts[1].lower(), parts[2], _path(path) + (quote(query, _LEFT_IN_QUERY) if query else "")


@functools.lru_cache(4096)
def _authority(scheme: str, text: str) -> tuple[str, str, int, str]:
    """Who logs in (with its @), host, port, and how host and port are spelled."""
    user, at, host_and_port = text.rpartition("@")
    host, port = _host_and_port(host_and_port, _PORTS[scheme])
    shown = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return quote(user, _LEFT_IN_USER) + at, host, port, shown if port == _PORTS[scheme] else f"{shown}:{port}"


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        inside, closed, after = text[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            raise ValueError(f"'{text[:60]}' is not an IPv6 address in brackets")
        return _ipv6(inside), _port(after[1:], default)
    host, _, port = text.partition(":")
    return host_name(host), _port(port, default)


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) < 65536):
        raise ValueError(f"'{text[:20]}' is not a port (1 to 65535)")
    return int(text)


def host_name(host: str) -> str:
    """A host's name as name servers know it, or the address that it is a number of.

    Raises:
        ValueError: if no host can be called so.
    """
    if not host:
        raise ValueError("the address names no host")
    if "%" in host:
        host = unquote_to_bytes(host).decode("utf-8", "replace")
    try:
        name = host.lower() if host.isascii() else ".".join(map(_ascii_label, _mapped(host).split(".")))
        for label in name.split("."):
            if label.startswith("xn--"):
                _check_spelled(label)
    except (UnicodeError, IndexError, OverflowError) as error:  # idna's own errors are UnicodeErrors
        raise ValueError(f"'{host[:60]}' is not a host's name ({error})") from None
    if not _NAME.fullmatch(name) or len(name) > 254:
        raise ValueError(f"'{host[:60]}' is not a host's name")
    return _ipv4(name) if _NUMBER.fullmatch(name.rstrip(".").rpartition(".")[2]) else name


def _mapped(host: str) -> str:
    """As browsers map it: UTS 46, not transitional, so a sharp s stays one; _ and emoji may stand in it."""
    return idna.uts46_remap(host, std3_rules=False)


def _ascii_label(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


def _check_spelled(label: str) -> None:
    """Check an ASCII form, whoever made it: no other name has it, and it is one that could be written in letters.

    Raises:
        UnicodeError: if not.
    """
    letters = label[4:].encode("ascii").decode("punycode")
    if letters.isascii() or letters.startswith("xn--") or _ascii_label(letters) != label or _mapped(letters) != letters:
        raise UnicodeError(f"{label[:60]} stands for no name")
    idna.check_initial_combiner(letters)
    idna.check_bidi(letters)
    if not all(idna.valid_contextj(letters, at) for at, letter in enumerate(letters) if letter in _JOINERS):
        raise UnicodeError("a joiner where nothing is joined")


def _ipv4(name: str) -> str:
    """A number of one to four parts, each decimal, octal or hexadecimal, as dotted decimals."""
    parts = name.removesuffix(".").split(".")
    try:
        *first, last = [_number(part) for part in parts]
        if len(parts) > 4 or any(number > 255 for number in first) or last >= 256 ** (5 - len(parts)):
            raise ValueError
    except ValueError:
        raise ValueError(f"'{name[:60]}' ends like an IPv4 address and is none") from None
    return str(ipaddress.IPv4Address(last + sum(number << 8 * (3 - i) for i, number in enumerate(first))))


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part) or len(part) > 40:
        raise ValueError
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _ipv6(text: str) -> str:
    zone = _ZONE.search(text)
    number = text[: zone.start()] if zone else text
    if zone and zone.end() != len(text):
        raise ValueError(f"'[{text[:60]}]' is not an IPv6 address")
    try:
        return str(ipaddress.IPv6Address(number)) + (f"%{zone[1]}" if zone else "")
    except ValueError:
        raise ValueError(f"'[{text[:60]}]' is not an IPv6 address") from None


def _path(path: str) -> str:
    """Encoded, and without `.` and `..`."""
    kept: list[str] = []
    steps = path.replace("\\", "/").split("/")[1:] or [""]
    for number, step in enumerate(steps):
        dots = _DOT.sub(".", step) if len(step) <= 6 else step
        if dots == "..":
            kept = kept[:-1]
        elif dots != ".":
            kept.append(step)
        if dots in (".", "..") and number == len(steps) - 1:
            kept.append("")
    return quote("/" + "/".join(kept), _LEFT_IN_PATH)
