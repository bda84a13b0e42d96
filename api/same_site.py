"""Which callers a service without keys accepts: programs of this machine, but no page of another site.

A browser sends what any web page tells it to, even to loopback addresses: a form posts without asking, and a host name
that points to 127.0.0.1 makes a foreign page and this service one origin. Host and Origin reveal this, and no page can
forge them.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from api.errors import Forbidden, Misdirected
from api.explain import shown
from api.settings import ApiSettings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})


class Gate:
    """Admits allowed requests. With keys, all are: then only a key opens anything."""

    def __init__(self, settings: ApiSettings) -> None:
        self._is_open = settings.needs_keys
        self._is_loopback = settings.is_loopback

    def check(self, scope: Scope) -> None:
        """Raise Misdirected for a foreign Host, Forbidden for a change that another site asks for."""
        if self._is_open:
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._is_loopback and "host" in headers and not _names_loopback(host):  # every browser sends one
            raise Misdirected(
                f"Host {shown(host)} is not this machine; without keys only 127.0.0.1, localhost and [::1] are served"
            )
        if scope["method"] not in SAFE and is_foreign(headers, host, scope.get("scheme", "http")):
            raise Forbidden(
                "another site asked for this, and only pages of this service may change anything; "
                "call it from a program, or give it keys (CHAI_AUTH=keys)",
                code="cross_site",
            )


def _names_loopback(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_foreign(headers: Headers, host: str, scheme: str) -> bool:
    """Return whether the request comes from a page of another site."""
    if headers.get("sec-fetch-site", "none").lower() in _FOREIGN_SITES:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.lower() != f"{scheme}://{host}".lower()
