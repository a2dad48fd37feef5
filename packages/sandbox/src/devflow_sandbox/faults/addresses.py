"""Provides addresses that fail before HTTP: no listener, an unknown host, a wrong certificate."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Literal

Address = Literal[
    "open", "closed_port", "unknown_host", "tls_expired", "tls_wrong_name", "tls_self_signed"
]
"""`open`: an ordinary port. `closed_port`: nothing listens. `unknown_host`: a name that DNS does
not resolve. The others speak TLS with a certificate that must not be trusted.
"""

UNKNOWN_HOST = "openrouter.invalid"
"""A host name that never resolves (reserved by RFC 6761)."""
_CERTIFICATES = Path(__file__).with_name("tls")
AUTHORITY = _CERTIFICATES / "ca.pem"
"""The authority that signed the expired and the misnamed certificate. A client that trusts this
file (`SSL_CERT_FILE`) sees only that fault, not an unknown authority as well.
"""


def make_tls_context(address: Address) -> ssl.SSLContext | None:
    """Return the TLS context with a wrong certificate; None for an address without TLS."""
    if not address.startswith("tls_"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_CERTIFICATES / f"{address.removeprefix('tls_')}.pem")
    return context


def hold_closed_port(host: str) -> socket.socket:
    """Return a socket bound to a port that refuses connections, as nothing listens on it.

    The caller closes it; until then no one else gets the port.
    """
    held = socket.socket()
    held.bind((host, 0))
    return held
