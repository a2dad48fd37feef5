"""A small, strict HTTP/1.1 server on llhttp: framing, limits, slow peers and drain."""

from devflow_server.http.exchange import Exchange, PeerGone
from devflow_server.http.limits import Limits
from devflow_server.http.listener import Handler, Listener
from devflow_server.http.message import Refused, Request

__all__ = ["Exchange", "Handler", "Limits", "Listener", "PeerGone", "Refused", "Request"]
