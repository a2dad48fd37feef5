"""Checks URLs, names the upstream at one, and finds or hides the credentials in one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

_PLAIN = re.compile(r"[^\x00-\x20\x7f\\]+")
"""A text without spaces, control characters and backslashes, which parsers read differently.

`urlsplit`, for one, drops line ends.
"""
_PASSWORD = re.compile(r"//[^/@:]*:(.+)@")
_LEDGER_SCHEMES = ("sqlite:///", "postgresql://", "postgres://")
LOOPBACK_UPSTREAM = "loopback"
"""The name of every upstream on this machine: a stand-in takes another port at each start."""


def is_loopback(host: str | None) -> bool:
    """Return whether a host is `localhost` or a loopback address; False for None."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def parse_address(url: str, *, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """Return the parts of an address.

    Raises:
        ValueError: the text is not an address of these schemes; the message quotes no part of it.
    """
    problem = f"it has to begin with {' or '.join(f'{one}://' for one in schemes)} and name a host"
    if not _PLAIN.fullmatch(url):
        raise ValueError(problem)
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if parts.scheme not in schemes or not has_host:
        raise ValueError(problem)
    return parts


def parse_confidential_address(url: str) -> SplitResult:
    """Return the parts of an address that keys may be sent to: https, or http to this machine.

    Raises:
        ValueError: the text is not an address, or its traffic could be read on the way; the message
            quotes no part of it.
    """
    parts = parse_address(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("it has to be https; http goes to this machine only")
    return parts


def check_address(url: str) -> str:
    """Return the address unchanged if it is http(s) and names a host; raise `ValueError` if not."""
    parse_address(url)
    return url


def check_confidential_address(url: str) -> str:
    """Return the address unchanged if keys may be sent to it; raise `ValueError` if not."""
    parse_confidential_address(url)
    return url


def name_upstream(base_url: str, usual_url: str) -> str:
    """Return a name for the upstream at an address, which says whose calls are billed together.

    It is `LOOPBACK_UPSTREAM` for any address of this machine, the usual host for that host and its
    subdomains (one per region), and otherwise the host, the port unless it is 443, and the path.

    Args:
        base_url: a valid address.
        usual_url: the address that the settings have by default.
    """
    parts, usual = urlsplit(base_url), urlsplit(usual_url).hostname or ""
    host = parts.hostname or ""
    if is_loopback(host):
        return LOOPBACK_UPSTREAM
    if host == usual or host.endswith(f".{usual}"):
        return usual
    port = f":{parts.port}" if parts.port not in (None, 443) else ""
    return f"{host}{port}{parts.path.rstrip('/')}"


def check_ledger_url(url: str) -> str:
    """Return the URL unchanged if it has a scheme of a ledger; raise `ValueError` if not."""
    if not url.startswith(_LEDGER_SCHEMES):
        raise ValueError(f"it has to begin with {' or '.join(_LEDGER_SCHEMES)}")
    return url


def hide_user_info(url: str) -> str:
    """Return an address, even a malformed one, with `…` for what stands before its last `@`."""
    before, at, after = url.rpartition("@")
    if not at:
        return url
    scheme, is_url, _ = before.partition("://")
    return f"{scheme}://…@{after}" if is_url else f"…@{after}"


def passwords_in(url: str) -> Iterator[str]:
    """Yield the password of an address as written and, if different, percent-decoded.

    Nothing is yielded if it has none.
    """
    found = _PASSWORD.search(url)
    if found is not None:
        yield from {found[1], unquote(found[1])}
