"""Handles `/v1/embeddings`: passes it to the named model, and books it like every call."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import orjson
from devflow_core.errors import InvalidRequest
from devflow_core.messages import JsonObject
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest
from devflow_core.wire.common_fields import TEXT_SCHEMA
from devflow_upstream.embeddings import embeddings_request, read_embeddings

from devflow_server.error_responses import id_headers
from devflow_server.replies.reply import metadata_from_entry
from devflow_server.requests.attribution import attribution_of
from devflow_server.requests.bodies import read_body
from devflow_server.requests.reader import read_max_cost, read_model, read_upstream_key
from devflow_server.routes import RequestContext

BODY_SCHEMA = {
    "required": ["model", "input"],
    "properties": {"model": TEXT_SCHEMA, "input": TEXT_SCHEMA},
}
"""JSON Schema of the part of the body that every client sends."""


class EmbeddingsHandler:
    """Answers the embeddings route.

    Args:
        pipeline: the gateway's pipeline for embeddings.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, context: RequestContext) -> None:
        """Answer one request.

        Raises:
            InvalidRequest: the model, the input or one of our headers is missing or malformed.
            DevFlowError: the call failed.
        """
        read = partial(_decode_request, context)
        request = await read_body(context.exchange.request.body, read)
        context.log_fields["requested"] = request.model
        reply, entry = await read_embeddings(self._pipeline, request, context.request_id)
        metadata = metadata_from_entry(entry, "off")
        headers = [("content-type", "application/json"), *id_headers(context.request_id)]
        context.exchange.respond(200, orjson.dumps(reply), [*headers, *metadata.headers()])


def _decode_request(context: RequestContext, body: JsonObject) -> ChatRequest:
    """Return the request; its body is passed on, with only the model's name replaced.

    Raises:
        InvalidRequest: the model, the input or one of our headers is missing or malformed.
    """
    headers = context.exchange.request.headers
    model, given = body.get("model"), body.get("input")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: send the id of a model for embeddings.")
    if not given or not isinstance(given, str | list):
        raise InvalidRequest("input: send a text or a list of texts.")
    return replace(
        embeddings_request(read_model(model), body, given),
        max_cost_usd=read_max_cost(headers),
        allowed_models=context.caller.models,
        attribution=attribution_of(headers, body, client_key=context.caller.name, node=None),
        user_key=read_upstream_key(headers) or context.caller.upstream_key,
    )
