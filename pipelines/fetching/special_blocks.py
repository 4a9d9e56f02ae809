"""Which addresses are the public internet: a table of our own, so that it is the same for every version of Python.

What the standard library calls global changes with its version, and it has let through site-local addresses and the
local prefix of NAT64. Here an address is public if it is known to be: unicast IPv4, and 2000::/3 of IPv6, less all that
IANA's special-purpose registries list, also what they call reachable (anycast services such as a router's port control,
which are nearest in one's own network). An IPv6 address that carries an IPv4 address is only as public as that one.

Sources: iana-ipv4-special-registry and iana-ipv6-special-registry as of 2025-10-09; RFC 4291, 3879, 6052, 8215, 5214.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NOT_PUBLIC_IPV4 = tuple(
    (int(network.network_address), int(network.netmask))
    for network in map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared by a provider's customers; 100.100.100.200 is Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's metadata and DNS, in the midst of public numbers
            "169.254.0.0/16",  # link-local, metadata of most clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "192.168.0.0/16",  # private use
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, limited broadcast
        ),
    )
)

_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")

_NOT_PUBLIC_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments: Teredo, port control, AMT, AS112, ORCHID, DRIP, benchmarking
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)

_END_IN_IPV4 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated (SIIT)
            "64:ff9b::/96",  # NAT64's well-known prefix
        ),
    )
)
"""What an address of these is, its last 32 bits say; NAT64's local prefix is not among them, as it leads anywhere."""

_6TO4 = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_ISATAP = 0x0000_5EFE
_ISATAP_GLOBAL_BIT = 0x0200_0000
_LAST_32 = 0xFFFF_FFFF


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet, through any of IPv6's disguises of IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        number = int(address)
        return not any(number & mask == first for first, mask in _NOT_PUBLIC_IPV4)
    if not all(map(is_public, carried(address))):
        return False
    if ipv4_of(address) is not None:
        return True
    return address in _UNICAST_IPV6 and not any(address in block for block in _NOT_PUBLIC_IPV6)


def ipv4_of(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to it go to in the end, if they leave IPv6."""
    number = int(address)
    if any(address in network for network in _END_IN_IPV4):
        return ipaddress.IPv4Address(number & _LAST_32)
    if address in _6TO4:
        return ipaddress.IPv4Address((number >> 80) & _LAST_32)
    if address in _TEREDO:
        return ipaddress.IPv4Address(~number & _LAST_32)
    return None


def carried(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """All IPv4 addresses in an IPv6 address: what it is translated to, is tunnelled to, or passes through."""
    number = int(address)
    if (ipv4 := ipv4_of(address)) is not None:
        yield ipv4
    if address in _TEREDO:
        yield ipaddress.IPv4Address((number >> 64) & _LAST_32)  # its server
    if (number >> 32) & _LAST_32 & ~_ISATAP_GLOBAL_BIT == _ISATAP:
        yield ipaddress.IPv4Address(number & _LAST_32)
