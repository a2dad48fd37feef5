"""Answers `/v1/messages/count_tokens` with a local estimate and its relative error."""

from __future__ import annotations

from functools import partial

import orjson
from devflow_core.errors import UnknownModel
from devflow_core.tokens import TextSize, TokenizerFamily, family_of
from devflow_core.wire.common_fields import MESSAGES_SCHEMA, MODEL_SCHEMA
from devflow_routing import LiveCatalogue

from devflow_server.error_responses import id_headers
from devflow_server.off_loop import run_by_size
from devflow_server.requests.reader import RequestReader
from devflow_server.routes import RequestContext

BODY_SCHEMA = {
    "required": ["model", "messages"],
    "properties": {"model": MODEL_SCHEMA, "messages": MESSAGES_SCHEMA},
}
"""JSON Schema of the part of the body that every client sends."""


class TokenCounter:
    """Answers without asking a provider: Claude Code's `/context` sends 10 to 30 requests at once.

    Args:
        reader: reads the request.
        catalogue: knows the tokenizer of a model whose name does not show it.
    """

    def __init__(self, reader: RequestReader, catalogue: LiveCatalogue) -> None:
        self._reader = reader
        self._catalogue = catalogue

    async def __call__(self, context: RequestContext) -> None:
        """Answer one request.

        Raises:
            InvalidRequest: the request is malformed.
        """
        request = await self._reader.read(context)
        family = self._find_family(request.model)
        size = await run_by_size(
            len(context.exchange.request.body), partial(TextSize.from_request, request)
        )
        tokens = size.estimate_tokens(family)
        body = {
            "input_tokens": tokens,
            "devflow": {"is_estimate": True, "relative_error": family.error},
        }
        headers = [("content-type", "application/json"), *id_headers(context.request_id)]
        context.exchange.respond(200, orjson.dumps(body), headers)

    def _find_family(self, model: str) -> TokenizerFamily:
        try:
            return family_of(model, self._catalogue.current.find(model).tokenizer)
        except UnknownModel:
            return family_of(model)
