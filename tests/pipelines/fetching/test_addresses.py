"""No list, redirect or name server can make the job speak to a private address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching.addresses import AddressPolicy, is_public

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::10.0.0.1", "2002:7f00:1::", "2001:db8::1", "64:ff9b::7f00:1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    """Loopback, private, link-local, shared, metadata, multicast and reserved ones, in every disguise."""
    assert not is_public(ipaddress.ip_address(address))
    assert not AddressPolicy.parse(None).allows(address, 80)
    assert AddressPolicy.parse([]).allows(address, 80)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """Whatever is allowed besides."""
    assert AddressPolicy.parse(None).allows(address, 443)
    assert AddressPolicy.parse(["10.0.0.0/8"]).allows(address, 443)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_address(address: ipaddress.IPv4Address) -> None:
    """IPv4 wrapped into IPv6 is judged as what it is."""
    for form in ("::ffff:{}", "64:ff9b::{}", "::ffff:0:{}", "::{}"):
        wrapped = ipaddress.IPv6Address(form.format(address))
        assert int(wrapped) <= 1 or is_public(address) == is_public(wrapped), form


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("10.0.0.0/8", ("10.1.2.3", 80), ("192.168.0.1", 80)),
        ("8080", ("192.168.0.1", 8080), ("192.168.0.1", 80)),
        (":8080", ("127.0.0.1", 8080), ("127.0.0.1", 8081)),
        ("127.0.0.1:8000", ("127.0.0.1", 8000), ("127.0.0.1", 8001)),
        ("127.0.0.1", ("127.0.0.1", 9), ("127.0.0.2", 9)),
        ("localhost", ("127.0.0.1", 9), ("10.0.0.1", 9)),
        ("fd00::/8", ("fd12::1", 80), ("::1", 80)),
        ("::1", ("::1", 80), ("fd12::1", 80)),
    ],
)
def test_what_is_allowed_by_name(entry: str, allowed: tuple[str, int], refused: tuple[str, int]) -> None:
    """Hosts, host:port pairs, ports and networks; nothing beside them."""
    policy = AddressPolicy.parse([entry])
    assert policy.allows(*allowed)
    assert not policy.allows(*refused)


@pytest.mark.parametrize("entry", ["no-such-host.invalid", "10.0.0.0/99", "127.0.0.1:x", "127.0.0.1:99999", "0"])
def test_bad_entries_are_one_sentence(entry: str) -> None:
    """The message names the flag, the entry and what it could be."""
    with pytest.raises(ValueError, match=f"--allow_private_hosts {entry}"):
        AddressPolicy.parse([entry])
