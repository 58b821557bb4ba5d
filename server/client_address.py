"""Who a connection comes from, for limits per client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from starlette.types import Scope

UNKNOWN: Final = "unknown"
MAX_NAME_CHARACTERS: Final = 64
# Whoever rents a machine gets a whole IPv6 network of this size.
IPV6_CLIENT_BITS: Final = 64


def client_of(scope: Scope) -> str:
    """The client behind a connection: an IPv4 address, or an IPv6 network of 64 bits.

    It is the peer's address unless a trusted proxy told another before.
    """
    peer = scope.get("client")
    return UNKNOWN if not peer else _client(peer[0])


@lru_cache(maxsize=4096)
def _client(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket, or what a proxy made up
        return host[:MAX_NAME_CHARACTERS] or UNKNOWN
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = int(address) >> (128 - IPV6_CLIENT_BITS) << (128 - IPV6_CLIENT_BITS)
    return f"{IPv6Address(network)}/{IPV6_CLIENT_BITS}"
