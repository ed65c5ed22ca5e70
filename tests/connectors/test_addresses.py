"""Which addresses anybody may lead us to: judged by what they are, however they are spelt."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.addresses import Address, AddressPolicy, Network, is_public
from connectors.base import ConnectorError, SourceFault
from connectors.http import GuardedTransport, fetch_limited, post_limited
from tests.connectors.faultserver import FaultServer, Reply

# The registries of special addresses (IANA), without those that are meant for everybody.
INSIDE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "255.255.255.255/32", "168.63.129.16/32",
        "::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64",
        "100:0:0:1::/64", "2001:2::/48", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7",
        "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip

METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16",
            "fd00:ec2::254", "fe80::a9fe:a9fe")  # fmt: skip
"""Where clouds hand out the credentials of a machine."""


def within(network: Network) -> st.SearchStrategy[Address]:
    return st.integers(int(network.network_address), int(network.broadcast_address)).map(
        type(network.network_address)
    )


inside = st.sampled_from(INSIDE).flatmap(within)
inside_v4 = st.sampled_from([each for each in INSIDE if each.version == 4]).flatmap(within)


@given(inside)
def test_nothing_within_the_special_networks_is_public(address: Address) -> None:
    assert not is_public(address)


SPELLINGS = {
    "mapped": lambda v4: int(ipaddress.ip_address("::ffff:0:0")) | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: int(ipaddress.ip_address("::ffff:0:0:0")) | v4,
    "NAT64": lambda v4: int(ipaddress.ip_address("64:ff9b::")) | v4,
    "local NAT64": lambda v4: int(ipaddress.ip_address("64:ff9b:1::")) | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "Teredo's client": lambda v4: 0x2001_0000 << 96 | 0x0808_0808 << 64 | (v4 ^ 0xFFFF_FFFF),
    "Teredo's server": lambda v4: 0x2001_0000 << 96 | v4 << 64 | (0x0808_0808 ^ 0xFFFF_FFFF),
    "ISATAP": lambda v4: int(ipaddress.ip_address("2a00:1450::5efe:0:0")) | v4,
    "ISATAP, globally unique": lambda v4: int(ipaddress.ip_address("2a00::200:5efe:0:0")) | v4,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(address=inside_v4)
def test_no_private_address_becomes_public_by_being_spelt_in_ipv6(
    spelling: str, address: Address
) -> None:
    assert not is_public(ipaddress.IPv6Address(SPELLINGS[spelling](int(address))))


@pytest.mark.parametrize("spelling", ["mapped", "NAT64", "6to4", "ISATAP"])
def test_a_public_one_stays_public(spelling: str) -> None:
    number = int(ipaddress.ip_address("8.8.8.8"))
    assert is_public(ipaddress.IPv6Address(SPELLINGS[spelling](number)))


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_an_ipv4_address_is_public_just_where_no_registry_speaks_of_it(
    address: ipaddress.IPv4Address,
) -> None:
    special = any(address in network for network in INSIDE if network.version == 4)
    assert is_public(address) is not special


@given(st.sampled_from(METADATA), st.from_regex(r"[a-z]{1,20}\.example", fullmatch=True))
def test_a_list_without_it_never_lets_the_metadata_of_a_cloud_through(
    address: str, host: str
) -> None:
    policy = AddressPolicy(["10.0.0.0/8", "intranet.internal", "fd12::/16"])
    assert not policy.allows(host, ipaddress.ip_address(address))


DISGUISES = (
    "127.1", "127.0.1", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "2130706433", "017700000001",
    "0", "0.0.0.0",  # noqa: S104 - an address to refuse, not to bind
    "[::]", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]",
    "127.0.0.1", "localhost.", "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("host", DISGUISES)
@pytest.mark.parametrize("how", ["get", "post", "redirect"])
def test_this_machine_is_not_reached_under_any_name(
    server: FaultServer, host: str, how: str
) -> None:
    target = f"http://{host}:{server.port}/secret"
    server.answer = Reply(302, headers={"Location": quote(target, safe=":/[]")})
    start = f"http://start.example:{server.port}/start" if how == "redirect" else target
    with _only_named("start.example") as client, pytest.raises(ConnectorError) as caught:
        post_limited(client, start, b"{}") if how == "post" else fetch_limited(client, start)
    assert caught.value.fault in REFUSED
    assert [request.path for request in server.requests] == ["/start"] * (how == "redirect")


REFUSED = (SourceFault.BLOCKED_ADDRESS, SourceFault.BAD_REQUEST, SourceFault.BAD_RESPONSE,
           SourceFault.UNREACHABLE)  # fmt: skip


def _only_named(name: str) -> httpx.Client:
    """Lets nobody inside but the bearer of one name, who lives on this machine."""

    def resolve(host: str, port: int) -> list[str]:
        if host == name:
            return ["127.0.0.1"]
        return [str(each[4][0]) for each in socket.getaddrinfo(host, port)]

    return httpx.Client(transport=GuardedTransport(AddressPolicy([name]), resolve=resolve))


class Rebinding:
    """A name server that gives another answer each time."""

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return [self._answers[min(self.asked, len(self._answers)) - 1]]


def test_a_name_is_looked_up_once_and_what_was_checked_is_what_is_connected_to(
    server: FaultServer,
) -> None:
    names = Rebinding("127.0.0.1", "169.254.169.254")
    transport = GuardedTransport(AddressPolicy(["127.0.0.1"]), resolve=names)
    with httpx.Client(transport=transport) as client:
        fetch_limited(client, f"http://feed.example:{server.port}/")
        assert names.asked == len(server.requests) == 1
        with pytest.raises(ConnectorError, match=r"private address 169\.254\.169\.254"):
            fetch_limited(client, f"http://feed.example:{server.port}/")
    assert (names.asked, len(server.requests)) == (2, 1)


def test_a_name_that_becomes_private_between_two_hops_is_refused(server: FaultServer) -> None:
    server.answer = Reply(302, headers={"Location": "/again"})
    names = Rebinding("127.0.0.1", "127.0.0.2")
    transport = GuardedTransport(AddressPolicy(["127.0.0.1"]), resolve=names)
    with (
        httpx.Client(transport=transport) as client,
        pytest.raises(ConnectorError, match=r"private address 127\.0\.0\.2"),
    ):
        fetch_limited(client, f"http://feed.example:{server.port}/")
    assert [request.path for request in server.requests] == ["/"]


def test_of_several_addresses_only_those_that_are_allowed_are_tried(server: FaultServer) -> None:
    transport = GuardedTransport(
        AddressPolicy(["127.0.0.1"]), resolve=lambda host, port: ["10.0.0.1", "::1", "127.0.0.1"]
    )
    with httpx.Client(transport=transport) as client:
        assert fetch_limited(client, f"http://feed.example:{server.port}/").status == 200


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_no_proxy_of_the_environment_stands_between(
    server: FaultServer, client: httpx.Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch_limited(client, f"http://127.0.0.1:{server.port}/").status == 200
    with pytest.raises(ConnectorError, match="private address"):
        fetch_limited(client, f"http://127.0.0.2:{server.port}/")
