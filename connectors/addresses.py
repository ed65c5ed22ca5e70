"""Which network addresses a connector may talk to: public ones, and those the operator allows.

A feed's address comes from configuration, but a redirect or a DNS answer comes from strangers.
Without this check either could point the daemon at a router, a database or the metadata service of
a cloud. The check is made on the address that is really connected to (see :mod:`connectors.http`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Reserved or answered by a cloud's own host, yet "global" to the standard library.
_ALSO_REFUSED: tuple[Network, ...] = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata service
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays, withdrawn
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's host agent
    ipaddress.ip_network("3fff::/20"),  # documentation
)
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that was ever given out of IPv6. The rest holds further ways to spell an IPv4 address."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The word before an IPv4 address that is spelt within an interface's identifier."""


def is_public(address: Address) -> bool:
    """Whether anyone on the internet may host something at ``address``.

    An IPv6 address that merely spells an IPv4 address is judged as that; one that tunnels to an
    IPv4 address (6to4, Teredo, ISATAP, NAT64) is judged by both.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if not address.is_global or address.is_multicast or address.is_unspecified:
        return False
    if any(address in network for network in _ALSO_REFUSED if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address not in _UNICAST and address not in _NAT64:
            return False
        return all(is_public(inner) for inner in _tunnelled(address))
    return True


def _tunnelled(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that packets to ``address`` may end up at."""
    inner = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [found for found in inner if found is not None]


class AddressPolicy:
    """Public addresses always, private ones only as the operator says.

    Args:
        allow_private: False for none, True for all, or a list of host names (allowed wherever they
            lead), addresses (``127.0.0.1``) and networks (``10.0.0.0/8``, ``fd00::/8``).

    Raises:
        ValueError: an entry is none of the three; the message names it.
    """

    def __init__(self, allow_private: bool | Iterable[str] = False) -> None:  # noqa: FBT001, FBT002 - the configuration's own shape
        self._all = allow_private is True
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in () if isinstance(allow_private, bool) else allow_private:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            host = _normal(entry)
            if not host or any(mark in host for mark in "/:@ "):
                raise ValueError(
                    f"{entry!r} is no host name, address or network; "
                    "write for example 'intranet.example', '127.0.0.1' or '10.0.0.0/8'"
                ) from None
            self._hosts.add(host)

    def allows(self, host: str, address: Address) -> bool:
        """Whether ``address``, found for the name ``host``, may be connected to."""
        if self._all or is_public(address) or _normal(host) in self._hosts:
            return True
        seen_as = [address]
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            seen_as.append(address.ipv4_mapped)
        return any(
            one in network
            for one in seen_as
            for network in self._networks
            if network.version == one.version
        )


def _normal(host: str) -> str:
    return host.rstrip(".").lower()
