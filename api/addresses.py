"""Which addresses this service may call: public ones, and hosts that the operator named.

A name is resolved once, and the connection goes to a checked address: a name that resolves differently the second time
has no effect.
"""

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from api.errors import BadRequest

MAX_URL = 2000  # characters
_PORTS = {"http": 80, "https": 443}
_NAT64 = ip_network("64:ff9b::/96")


class Blocked(Exception):
    """An address that may not be called; the message continues "the URL" and does not show its path."""


def check(url: str, allowed: Collection[str]) -> SplitResult:
    """Return the parts of a URL that, judging by its text, may be called. Raises `Blocked`."""
    if len(url) > MAX_URL or not (url.isascii() and url.isprintable()) or " " in url:
        raise Blocked(f"is no URL of at most {MAX_URL} printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # refuses empty or overlong labels
    except ValueError as error:
        raise Blocked(f"is no URL ({error})") from None
    if parts.scheme not in _PORTS or not host or port == 0:
        raise Blocked("is not an https URL; write it like https://example.org/hook")
    if parts.username is not None or parts.password is not None:
        raise Blocked("holds a user name; put a secret into the path, or check the signature")
    if is_allowed(parts, allowed):
        return parts
    if parts.scheme != "https":
        raise Blocked("is not an https URL, and the operator has not named its host in CHAI_WEBHOOK_HOSTS")
    try:
        literal = ip_address(host)
    except ValueError:
        return parts
    _check_public(str(literal), literal)
    return parts


def check_url(param: str, url: str, allowed: Collection[str]) -> None:
    """Raise `BadRequest` if a request names a URL that would never be called."""
    try:
        check(url, allowed)
    except Blocked as error:
        raise BadRequest(f"{param} {error}", param=param) from None


def is_allowed(parts: SplitResult, allowed: Collection[str]) -> bool:
    """Return whether the operator named this host, alone or with its port."""
    host = (parts.hostname or "").rstrip(".")
    return host in allowed or f"{host}:{port_of(parts)}" in allowed


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL."""
    return parts.port or _PORTS[parts.scheme]


def resolve(parts: SplitResult, allowed: Collection[str]) -> list[str]:
    """Return the addresses to try in turn. Raises `Blocked` if one is not public, or if there are none.

    A host may answer at only some of them: at IPv4 if this machine has no IPv6 route, or at 127.0.0.1 if `localhost`
    resolves to ::1 first.
    """
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, port_of(parts), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Blocked(f"names {host}, which is not known ({error})") from None
    addresses = [ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not is_allowed(parts, allowed):
        for address in addresses:
            _check_public(host, address)
    return [str(address) for address in dict.fromkeys(addresses)]


def _check_public(host: str, address: IPv4Address | IPv6Address) -> None:
    if not is_public(address):
        where = f"leads to {address}" if host == str(address) else f"leads to {host}, {address}"
        raise Blocked(f"{where}: no public address, and only those are called")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is public, even if embedded in another (such as IPv4 in IPv6)."""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not is_public(one) for one in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved
