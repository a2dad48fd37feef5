"""Serves HTTP/1.1 strictly, on llhttp: framing, limits, slow peers and drain."""

from devflow_server.http.exchange import ClientDisconnected, Exchange
from devflow_server.http.limits import Limits
from devflow_server.http.listener import Handler, Listener
from devflow_server.http.message import Admission, Request, RequestRejected

__all__ = [
    "Admission",
    "ClientDisconnected",
    "Exchange",
    "Handler",
    "Limits",
    "Listener",
    "Request",
    "RequestRejected",
]
