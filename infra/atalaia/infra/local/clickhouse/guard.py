"""Who may ask: a program on this machine, or our own page in its browser; never another site through that browser.

There are no passwords here, so a page that a person happens to visit must not reach the engine: not by a form, not by
a script, not by a name that is made to resolve to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_OWN_SITE: Final = {"same-origin", "none"}


def refusal(headers: Mapping[str, str], *, loopback_only: bool, page: bool = False) -> str | None:
    """Why the request is refused, if it is; header names are in lower case. Another site may link to a `page`.

    >>> refusal({"host": "127.0.0.1:8123"}, loopback_only=True)
    >>> refusal({"host": "evil.example:8123"}, loopback_only=True)
    "Host 'evil.example:8123' is not this machine's loopback: ask for localhost or 127.0.0.1"
    >>> refusal({"host": "localhost:8123", "origin": "https://evil.example"}, loopback_only=True)
    "Origin 'https://evil.example' is not this server: other web pages may not query it"
    """
    host = headers.get("host", "")
    if loopback_only and host and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return f"Host {host!r} is not this machine's loopback: ask for localhost or 127.0.0.1"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"Origin {origin!r} is not this server: other web pages may not query it"
    if not page and headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return "Another web page may not query this server"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own.

    >>> [is_loopback(name) for name in ("localhost", "127.0.0.2", "::1", "10.0.0.1", "localhost.evil.example")]
    [True, True, True, False, False]
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
