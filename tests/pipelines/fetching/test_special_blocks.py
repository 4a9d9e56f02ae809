"""No address of IANA's special-purpose blocks is reached, and none that carries one, however it is spelled."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.addresses import AddressPolicy
from pipelines.fetching.options import FetchOptions
from pipelines.fetching.special_blocks import is_public
from pipelines.fetching.urls import Target
from pipelines.stages.fetch import fetch

SPECIAL_IPV4 = re.findall(
    r"\S+",
    """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
    192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
    255.255.255.255/32
""",
)
"""iana-ipv4-special-registry, 2025-10-09: every row."""

SPECIAL_IPV6 = re.findall(
    r"\S+",
    """
    ::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48
    2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2620:4f:8000::/48 3fff::/20 5f00::/16
    fc00::/7 fe80::/10
""",
)
"""iana-ipv6-special-registry, 2025-10-09: every row but those that carry an IPv4 address, see FORMS."""

OTHER = re.findall(
    r"\S+",
    """
    224.0.0.0/4 168.63.129.16/32 169.254.169.254/32 100.100.100.200/32 192.0.0.192/32
    ff00::/8 fec0::/10 fd00:ec2::254/128 fd20:ce::254/128 200::/7 400::/6 800::/5 1000::/4 4000::/3 6000::/3 8000::/3
    a000::/3 c000::/3 e000::/4 f000::/5 f800::/6 fe00::/9
""",
)
"""Multicast, site-local, what is not assigned, and clouds' metadata."""

FORMS = {
    "mapped": "::ffff:0:0/96",
    "compatible": "::/96",
    "translated": "::ffff:0:0:0/96",
    "NAT64": "64:ff9b::/96",
}


def carriers(inner: IPv4Address) -> dict[str, IPv6Address]:
    """Every form of IPv6 address that carries it, with nothing else in it that is not public."""
    number = int(inner)
    forms = {name: IPv6Address(int(ip_network(n).network_address) | number) for name, n in FORMS.items()}
    forms["6to4"] = IPv6Address(0x2002 << 112 | number << 80 | 0x0808_0808)
    forms["Teredo"] = IPv6Address(0x2001_0000 << 96 | int(IPv4Address("65.54.227.120")) << 64 | (number ^ 0xFFFF_FFFF))
    forms["Teredo server"] = IPv6Address(0x2001_0000 << 96 | number << 64 | (int(IPv4Address("8.8.8.8")) ^ 0xFFFF_FFFF))
    for name, bits in (("ISATAP", 0x5EFE), ("ISATAP, global", 0x0200_5EFE)):
        forms[name] = IPv6Address(int(IPv6Address("2a00:1450::")) | bits << 32 | number)
    return forms


def local_nat64(inner: IPv4Address) -> list[IPv6Address]:
    """In NAT64's local prefix, at each place that RFC 6052 knows."""
    number, prefix = int(inner), int(IPv6Address("64:ff9b:1::"))
    return [
        IPv6Address(prefix | number),
        IPv6Address(prefix | (number >> 16) << 64 | (number & 0xFFFF) << 40),
        IPv6Address(prefix | (number >> 24) << 64 | (number & 0xFF_FFFF) << 32),
        IPv6Address(prefix | number << 24),
    ]


def within(block: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The first, the last and some inner addresses of a block."""
    network = ip_network(block)
    first, size = int(network.network_address), network.num_addresses
    kind = type(network.network_address)
    return [kind(first + offset) for offset in sorted({0, min(1, size - 1), size // 3, size // 2, size - 1})]


@pytest.mark.parametrize("block", [*SPECIAL_IPV4, *SPECIAL_IPV6, *OTHER])
def test_nothing_of_a_special_block_is_reached(block: str) -> None:
    """First, last and inner addresses, by themselves and in all disguises."""
    policy = AddressPolicy.parse(None)
    for address in within(block):
        assert not is_public(address), address
        assert not policy.allows(str(address), 443), address
        assert not policy.allows(address.exploded, 443)
        if isinstance(address, IPv4Address):
            for form, carrier in carriers(address).items():
                assert not policy.allows(str(carrier), 80), f"{address} as {form}: {carrier}"
            assert not any(policy.allows(str(carrier), 80) for carrier in local_nat64(address)), address
        else:
            assert not policy.allows(f"{address}%eth0", 80)


def test_what_lies_beside_the_blocks_is_reached() -> None:
    """The table refuses no more than it says: the neighbours of each block that are in no other one are public."""
    special = [ip_network(b) for b in (*SPECIAL_IPV4, *OTHER) if ":" not in b]
    for network in special:
        for number in (int(network.network_address) - 1, int(network.broadcast_address) + 1):
            if 0 <= number < 1 << 32 and not any(IPv4Address(number) in each for each in special):
                assert is_public(IPv4Address(number)), IPv4Address(number)
    for address in (
        "2001:200::",
        "2001:db7:ffff::1",
        "2001:db9::",
        "2001:ffff::",
        "2003::",
        "2620:4f:7fff::1",
        "2620:4f:8001::",
    ):
        assert is_public(ip_address(address)), address
    for address in ("2606:4700::1111", "2a00:1450:4001:800::200e", "3ffe:ffff::", "3fff:1000::", "2000::1"):
        assert is_public(ip_address(address)), address


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_as_public_as_it(inner: IPv4Address) -> None:
    """Both ways: IPv4 in IPv6 is judged as what it is, and the local prefix of NAT64 never reached."""
    for form, carrier in carriers(inner).items():
        assert int(carrier) <= 1 or is_public(inner) == is_public(carrier), (form, carrier)
    assert not any(map(is_public, local_nat64(inner)))


@given(st.ip_addresses(v=6))
@settings(max_examples=100)
def test_only_global_unicast_is_public(address: IPv6Address) -> None:
    """2000::/3, or a carrier of a public IPv4 address."""
    if is_public(address) and address not in ip_network("2000::/3"):
        assert any(address in ip_network(network) for network in FORMS.values())


def spellings_ipv4(address: IPv4Address) -> set[str]:
    """Decimal, octal and hexadecimal, in one to four parts, and in other scripts' digits."""
    number = int(address)
    a, b, c, d = address.packed
    whole = {str(number), hex(number), f"0X{number:X}", f"0{number:o}", f"0x{number:020x}"}
    two = {f"{a}.{number & 0xFFFFFF}", f"0x{a:x}.{number & 0xFFFFFF}", f"0{a:o}.0{number & 0xFFFFFF:o}"}
    three = {f"{a}.{b}.{number & 0xFFFF}", f"{a}.0x{b:x}.0x{number & 0xFFFF:x}"}
    four = {f"{a}.{b}.{c}.{d}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a}.{b}.{c}.{d}."}
    wide = str(address).translate(
        {ord(str(n)): chr(0xFF10 + n) for n in range(10)} | {ord("."): "\N{IDEOGRAPHIC FULL STOP}"}
    )
    return whole | two | three | four | {wide, "".join(f"%{ord(ch):02x}" for ch in str(address))}


def spellings_ipv6(address: IPv6Address) -> set[str]:
    """Short and long, small and large, with dotted decimals at its end, with zones."""
    number = int(address)
    tail = IPv4Address(number & 0xFFFF_FFFF)
    groups = address.exploded.split(":")
    texts = {str(address), address.exploded, str(address).upper(), ":".join(groups[:6]) + f":{tail}"}
    return {f"[{text}{zone}]" for text in texts for zone in ("", "%25lo", "%lo", "%251")}


@given(st.ip_addresses(v=4))
def test_every_spelling_of_ipv4_is_one_host(address: IPv4Address) -> None:
    """What is looked up, asked of robots.txt and connected to is the same dotted decimals."""
    for spelling in spellings_ipv4(address):
        assert str(address) == Target.of(f"http://{spelling}/x").host, spelling


@given(st.ip_addresses(v=6))
def test_every_spelling_of_ipv6_is_one_host(address: IPv6Address) -> None:
    """Zones aside."""
    for spelling in spellings_ipv6(address):
        assert str(address) == Target.of(f"http://{spelling}:8080/x").host.partition("%")[0], spelling


def test_no_spelling_of_a_special_address_is_fetched(
    full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Through the fetcher itself, with everything that libcurl makes of a host: no socket, and the reason says so."""
    urls = []
    for block in [*SPECIAL_IPV4, *SPECIAL_IPV6, *OTHER]:
        for address in within(block) if full else {within(block)[0], within(block)[-1]}:
            if isinstance(address, IPv4Address):
                urls += [f"http://{spelling}/" for spelling in sorted(spellings_ipv4(address))]
                urls += [f"http://[{carrier}]/" for carrier in [*carriers(address).values(), *local_nat64(address)]]
            else:
                urls += [f"http://{spelling}/" for spelling in sorted(spellings_ipv6(address))]
    results = list(fetch(enumerate(urls), FetchOptions(timeout=5, retries=0, ignore_robots=True)))
    assert len(urls) == len(results) > 2000
    record_property("addresses", len(urls))
    reached = {urls[r.index]: r.problem and (r.problem.reason, r.problem.message) for r in results}
    assert {} == {url: why for url, why in reached.items() if not why or why[0] != "forbidden-address"}
