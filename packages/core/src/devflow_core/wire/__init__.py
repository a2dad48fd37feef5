"""Translates between the dialects of clients and providers and the hub's values."""

from devflow_core.wire.body import parse_body
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.errors import error_from_body
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder
from devflow_core.wire.sse import SseFrame, SseReader
from devflow_core.wire.table import DIALECTS, dialect_of_client, get_dialect, guess_dialect

__all__ = [
    "DIALECTS",
    "Dialect",
    "EncodedRequest",
    "EventDecoder",
    "EventEncoder",
    "SseFrame",
    "SseReader",
    "dialect_of_client",
    "error_from_body",
    "get_dialect",
    "guess_dialect",
    "parse_body",
]
