"""Faults in front of HTTP: addresses at which a client meets nobody, or the wrong certificate."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Literal

Address = Literal[
    "open", "closed_port", "unknown_host", "tls_expired", "tls_wrong_name", "tls_self_signed"
]
"""`open`: an ordinary port. `closed_port`: nobody listens. `unknown_host`: a name that no server
of names knows. The others speak TLS and show a certificate that must not be trusted."""

UNKNOWN_HOST = "openrouter.invalid"
"""Reserved never to be resolved (RFC 6761)."""
_CERTIFICATES = Path(__file__).with_name("tls")
AUTHORITY = _CERTIFICATES / "ca.pem"
"""Who signed the expired and the misnamed certificate: a client that trusts this file
(`SSL_CERT_FILE`) sees that fault alone, and not also an unknown authority."""


def make_tls_context(address: Address) -> ssl.SSLContext | None:
    """The context of a port with a wrong certificate; None for an address without TLS."""
    if not address.startswith("tls_"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_CERTIFICATES / f"{address.removeprefix('tls_')}.pem")
    return context


def hold_closed_port(host: str) -> socket.socket:
    """A port that refuses connections for as long as the socket is kept open: bound, not heard."""
    held = socket.socket()
    held.bind((host, 0))
    return held
