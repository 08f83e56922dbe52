from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.webhooks.guard import _REFUSED_V4, Blocked, Guard

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "100.128.0.1", "2a00:1450:4001:80b::200e", "2600::1"]
REFUSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:0:7f00:1",
    "::5efe:7f00:1",
    "2a00:1450::5efe:10.0.0.1",
    "2a00:1450::200:5efe:10.0.0.1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "5f00::1",
    "3fff::1",
    "not an address",
    "2130706433",
    "0177.0.0.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    Guard().check([address])


@pytest.mark.parametrize("address", REFUSED)
def test_everything_else_is_refused(address: str) -> None:
    with pytest.raises(Blocked):
        Guard().check([address])


def test_the_error_names_the_rule_and_not_the_address() -> None:
    with pytest.raises(Blocked, match="link-local") as error:
        Guard().check(["169.254.169.254"])
    assert "169" not in str(error.value)


def test_one_bad_answer_among_good_ones_refuses_the_name() -> None:
    with pytest.raises(Blocked):
        Guard().check([*PUBLIC, "10.0.0.1"])


def _spellings(inner: IPv4Address) -> list[str]:
    number = int(inner)
    return [
        str(IPv6Address(prefix << 32 | number))
        for prefix in (
            0,
            0xFFFF,  # mapped
            0xFFFF_0000,  # SIIT
            0x5EFE,  # ISATAP
            0x0200_5EFE,
            0x2A00_1450_0000_0000_0000_5EFE,  # ISATAP under a public prefix
            0x0064_FF9B << 64,  # NAT64
            0x0064_FF9B_0001 << 48,
            0x2001_0000 << 64,  # Teredo
        )
    ] + [str(IPv6Address(0x2002 << 112 | number << 80))]


private = st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]).flatmap(
    lambda network: st.ip_addresses(v=4, network=network)
)


@given(inner=private)
def test_no_spelling_of_a_private_ipv4_address_inside_ipv6_passes(inner: IPv4Address) -> None:
    for spelling in _spellings(inner):
        with pytest.raises(Blocked):
            Guard().check([spelling])


@given(address=st.ip_addresses(v=6))
def test_of_ipv6_only_global_unicast_and_embedded_public_ipv4_pass(address: IPv6Address) -> None:
    try:
        Guard().check([str(address)])
    except Blocked:
        return
    embedded = any(address in ip_network(n) for n in ("::ffff:0:0/96", "64:ff9b::/96"))
    assert embedded or address in ip_network("2000::/3")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1"])
def test_loopback_is_open_only_when_told(address: str) -> None:
    Guard(allow_loopback=True).check([address])
    with pytest.raises(Blocked):
        Guard().check([address])


def test_allowed_loopback_opens_nothing_else() -> None:
    spelled = ("::ffff:127.0.0.1", "::7f00:1", "::ffff:0:7f00:1", "::5efe:7f00:1", "2002:7f00:1::", "64:ff9b::7f00:1")
    for address in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "::", *spelled):
        with pytest.raises(Blocked):
            Guard(allow_loopback=True).check([address])


def test_allowed_networks_open_exactly_themselves() -> None:
    guard = Guard(allow_networks=[ip_network("10.20.0.0/16"), ip_network("fd12::/16")])
    guard.check(["10.20.3.4", "fd12::1", "::ffff:10.20.3.4"])
    for address in ("10.21.0.1", "fd13::1", "127.0.0.1"):
        with pytest.raises(Blocked):
            guard.check([address])


def test_opened_means_private_by_default_and_allowed_here() -> None:
    guard = Guard(allow_networks=[ip_network("10.0.0.0/8")])
    assert guard.opened(["10.0.0.1"])
    assert not guard.opened(["8.8.8.8"])
    assert not guard.opened(["10.0.0.1", "8.8.8.8"])
    assert not guard.opened(["192.168.0.1"])


def test_a_network_of_one_tenant_is_open_to_it_alone() -> None:
    guard = Guard(tenant_networks={"acme": [ip_network("10.1.0.0/16")]})
    guard.check(["10.1.0.1"], tenant="acme")
    assert guard.opened(["10.1.0.1"], tenant="acme")
    for tenant in ("", "default", "globex"):
        with pytest.raises(Blocked):
            guard.check(["10.1.0.1"], tenant=tenant)
    with pytest.raises(Blocked):
        guard.check(["10.2.0.1"], tenant="acme")


refused_v4 = st.sampled_from(list(_REFUSED_V4)).flatmap(lambda network: st.ip_addresses(v=4, network=network))


@given(address=refused_v4, good=st.sampled_from(PUBLIC), first=st.booleans())
def test_pain_21_any_bad_answer_refuses_wherever_it_stands(address: IPv4Address, good: str, first: bool) -> None:
    answers = [str(address), good] if first else [good, str(address)]
    with pytest.raises(Blocked):
        Guard().check(answers)


@given(address=refused_v4)
def test_pain_21_no_spelling_of_any_refused_network_passes(address: IPv4Address) -> None:
    for spelling in _spellings(address):
        with pytest.raises(Blocked):
            Guard().check([spelling])
