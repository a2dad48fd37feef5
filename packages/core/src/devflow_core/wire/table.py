"""Lists the dialects; a new one is a folder next to this file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from devflow_core.messages import JsonObject, WireName
from devflow_core.request import ChatRequest
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.openai_chat import CHAT_WITH_STATUS_CODES, OPENAI_CHAT
from devflow_core.wire.openai_responses import OPENAI_RESPONSES, RESPONSES_WITH_STATUS_CODES

DEFAULT_DIALECT = OPENAI_CHAT
"""The dialect of requests made in Python, and of errors if no route decides otherwise."""

DIALECTS: Mapping[WireName, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OPENAI_CHAT,
        ANTHROPIC_MESSAGES,
        OPENAI_RESPONSES,
    )
}
"""Every dialect that the gateway speaks, by name."""

_WITH_STATUS_CODES = {
    dialect.name: dialect for dialect in (CHAT_WITH_STATUS_CODES, RESPONSES_WITH_STATUS_CODES)
}


def with_status_codes(dialect: Dialect) -> Dialect:
    """Return the dialect as routers speak it, if their errors differ; else the dialect itself."""
    return _WITH_STATUS_CODES.get(dialect.name, dialect)


def get_dialect(wire: WireName) -> Dialect:
    """Return the dialect of this name; raise `KeyError` if there is none."""
    return DIALECTS[wire]


def dialect_of(request: ChatRequest) -> Dialect:
    """Return the dialect in which a request came; the default dialect for one made in Python."""
    return DIALECTS[request.origin.wire] if request.origin else DEFAULT_DIALECT


def dialect_of_client(headers: Mapping[str, str]) -> Dialect | None:
    """Return the dialect whose clients send such headers, whatever they ask; None if unknown."""
    return next((one for one in DIALECTS.values() if one.client_header in headers), None)


def guess_dialect(body: JsonObject) -> Dialect:
    """Return the dialect whose shape a body without a path has; if none, the default dialect."""
    return next((one for one in DIALECTS.values() if one.has_shape(body)), DEFAULT_DIALECT)
