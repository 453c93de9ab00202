"""Who may read along when credentials are sent to a server."""

from __future__ import annotations

import ipaddress
import urllib.parse
import urllib.request
from collections.abc import Iterator

_ENCRYPTED = {"http": "https", "mqtt": "mqtts"}  # by the scheme that is not


def exposures(url: str) -> Iterator[str]:
    """Yield what exposes credentials that go with a request to `url`, in words for a warning.

    >>> list(exposures("http://127.0.0.1:8000/hook"))
    []
    """
    parts = urllib.parse.urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        name = urllib.parse.urlsplit(proxy).hostname or "a proxy"
        yield f"credentials go through the proxy {name}; set no_proxy={host} if they should not"
    if (safe := _ENCRYPTED.get(scheme)) and not _is_loopback(host):
        yield f"credentials go to {host} unencrypted; use {safe}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
