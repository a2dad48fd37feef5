"""`/v1/messages/count_tokens`, answered here: an estimate that says how far off it may be."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from devflow_core.errors import UnknownModel
from devflow_routing import Catalogue, TextSize
from devflow_routing.tokens import Family, family

from devflow_server.error_responses import ids_of
from devflow_server.requests.reader import Intake
from devflow_server.routes import Visit

_UNKNOWN = "Claude"
"""The tokenizer that is assumed for names the catalogue has not: they are Claude Code's own."""


class TokenCounter:
    """Counts without asking anyone: `/context` of Claude Code sends 10 to 30 of these at once.

    Args:
        intake: reads the request.
        catalogue: the present one, for the model's tokenizer.
    """

    def __init__(self, intake: Intake, catalogue: Callable[[], Catalogue]) -> None:
        self._intake = intake
        self._catalogue = catalogue

    async def __call__(self, visit: Visit) -> None:
        """Answer one request."""
        request = self._intake.read(visit)
        tokenizer = self._family(request.model)
        tokens = TextSize.of_request(request).tokens(tokenizer)
        body = {
            "input_tokens": tokens,
            "devflow": {"is_estimate": True, "relative_error": tokenizer.error},
        }
        headers = [("content-type", "application/json"), *ids_of(visit.request_id)]
        visit.exchange.respond(200, orjson.dumps(body), headers)

    def _family(self, model: str) -> Family:
        try:
            return family(self._catalogue().find(model).tokenizer)
        except UnknownModel:
            return family(_UNKNOWN)
