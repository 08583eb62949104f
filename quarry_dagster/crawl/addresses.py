"""Which network addresses may be connected to.

A crawler fetches what strangers' pages and redirects name, from inside a network that strangers cannot reach:
without this rule a seed or a redirect could read a cloud's metadata service or a router's pages into the corpus.
The rule is applied to addresses, never to names, and by `http.py` at the moment of connecting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from quarry_dagster.errors import ConfigError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# RFC 6052 (well-known prefix) and RFC 8215 (local use): the last 32 bits are an IPv4 address.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
# RFC 4291 2.5.5.1, deprecated, but some systems still route it.
_IPV4_COMPATIBLE = IPv6Network("::/96")


REMEDY = (
    "where such addresses are your own, name their networks in QUARRY_ALLOW_ADDRESSES, such as 192.168.1.0/24, "
    "and run again"
)
"""What to do about pages that were not fetched because of this rule."""
HOPELESS = r"is a (?:link-local|multicast|unspecified) address"
"""In a detail: nobody's pages are there, but a cloud's metadata service may be, so that :data:`REMEDY` is not said."""


def remedy(detail: str | None) -> str | None:
    """What to do about an outcome `blocked_address` of this detail; None for nothing."""
    return None if re.search(HOPELESS, detail or "") else REMEDY


class AddressBlocked(Exception):
    """An address is not public and was not allowed. No OSError, lest a connector go on to the next address."""


def allowed_networks(cidrs: str) -> tuple[Network, ...]:
    """The networks listed in a `QUARRY_ALLOW_ADDRESSES`, separated by commas or spaces.

    Raises:
        ConfigError: an item is no network in CIDR notation.
    """
    networks = []
    for item in re.split(r"[,\s]+", cidrs):
        if not item:
            continue
        try:
            networks.append(ip_network(item))
        except ValueError as e:
            raise ConfigError(
                f"QUARRY_ALLOW_ADDRESSES: {item!r} is not a network in CIDR notation such as 127.0.0.0/8: {e}"
            ) from e
    return tuple(networks)


class AddressRule:
    """Public addresses are open; others only inside the networks that were allowed by name."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._passed: set[str] = set()

    def check(self, address: str) -> None:
        """Return for an address that may be connected to.

        Raises:
            AddressBlocked: it may not; the message says what kind of address it is.
        """
        if address in self._passed:
            return
        self._judge(ip_address(address))
        if len(self._passed) < 65_536:
            self._passed.add(address)

    def _judge(self, ip: Address) -> None:
        if self._is_allowed(ip):
            return
        for inner in _embedded(ip) or [ip]:
            if not self._is_allowed(inner) and (kind := _not_public(inner)):
                through = "" if inner == ip else f" (in {ip})"
                raise AddressBlocked(f"{inner}{through} is a {kind} address")

    def _is_allowed(self, ip: Address) -> bool:
        return any(ip in network for network in self._allowed)


def _embedded(ip: Address) -> list[IPv4Address]:
    """IPv4 addresses that a packet to this IPv6 address may end at: they decide, not their wrapping."""
    if isinstance(ip, IPv4Address):
        return []
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    if ip.sixtofour:
        return [ip.sixtofour]
    if ip.teredo:
        return list(ip.teredo)
    if any(ip in prefix for prefix in _NAT64) or (ip in _IPV4_COMPATIBLE and int(ip) > 1):
        return [IPv4Address(int(ip) & 0xFFFF_FFFF)]
    return []


def _not_public(ip: Address) -> str | None:
    if ip.is_unspecified:
        return "unspecified"
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    if ip.is_private or (isinstance(ip, IPv6Address) and ip.is_site_local):
        return "private"
    if ip.is_reserved or not ip.is_global:
        return "reserved"
    return None
