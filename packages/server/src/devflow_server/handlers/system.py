"""Handles the routes about the gateway itself: models, status, nodes, health, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from devflow_core.errors import InvalidRequest, NotFound, QueueFull
from devflow_core.wire import dialect_of_client
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_store import LedgerState

from devflow_server.error_responses import id_headers
from devflow_server.handlers.model_list import AUTO_MODELS
from devflow_server.handlers.model_pages import model_as_anthropic, model_page
from devflow_server.http.message import UPSTREAM_KEY_HEADER
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.readiness import NotReady
from devflow_server.requests.attribution import is_claude_code
from devflow_server.requests.bodies import read_body
from devflow_server.requests.nodes import NodeTable
from devflow_server.requests.reader import read_model
from devflow_server.routes import RequestContext

ModelList = Callable[[], Sequence[Mapping[str, Any]]]
"""Returns an entry for every model that can be listed, in OpenAI's shape with our additions."""
DescribeModel = Callable[[str, tuple[str, ...] | None], Mapping[str, Any] | None]
"""Returns the entry of a model by a name, within a scope; None if there is none."""

NODE_SCHEMA = {
    "additionalProperties": False,
    "properties": {
        "model": {"type": ["string", "null"], "minLength": 1},
        "cost_priority": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "performance_priority": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "quality_floor": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    },
}
"""JSON Schema of the changes to a node."""


def respond_json(context: RequestContext, document: object, status: int = 200) -> None:
    """Answer with a JSON document and the request's id."""
    headers = [("content-type", "application/json"), *id_headers(context.request_id)]
    context.exchange.respond(status, orjson.dumps(document), headers)


class ModelsHandler:
    """Answers `/v1/models` in the form that the client reads: OpenAI's, a router's, or Anthropic's.

    Args:
        models: returns every model that can be listed, in OpenAI's shape.
        rows: returns the same models as rows of a router's catalogue.
        describe: returns the entry of a model by any name that a request may have, within a scope.
    """

    def __init__(self, models: ModelList, rows: ModelList, describe: DescribeModel) -> None:
        self._models = models
        self._rows = rows
        self._describe = describe

    async def list_models(self, context: RequestContext) -> None:
        """Answer with the caller's models: at most `limit`, or the page that is asked for.

        Raises:
            InvalidRequest: `limit` is wrong, or there is no such page.
        """
        query = context.exchange.request.query
        entries = _select_usable(context, self._models())
        if _reads_anthropic(context):
            respond_json(context, model_page(entries, query))
            return
        limit = _parse_limit(query)
        more = len(entries) > limit
        respond_json(context, {"object": "list", "data": entries[:limit], "has_more": more})

    async def list_rows(self, context: RequestContext) -> None:
        """Answer with rows of the caller's models; as `list_models` to clients of Anthropic's form.

        Raises:
            InvalidRequest: there is no such page.
        """
        if _reads_anthropic(context):
            await self.list_models(context)
            return
        rows = _select_usable(context, self._rows())
        document = {"data": rows, "total_count": len(rows), "links": {"next": None}}
        respond_json(context, document)

    async def get_model(self, context: RequestContext) -> None:
        """Answer with the entry of the model that a request for this name would be sent to.

        `auto` and patterns have entries of their own.

        Raises:
            NotFound: there is no such model, or the key may not use it.
        """
        try:
            entry = self._describe(read_model(context.path_parameter), context.caller.models)
        except InvalidRequest:  # the name cannot be a model's
            entry = None
        if entry is None:
            raise NotFound("There is no model of this id; GET /v1/models lists them.")
        respond_json(context, model_as_anthropic(entry) if _reads_anthropic(context) else entry)


class StatusHandler:
    """Reports which key would pay, and the age and size of the list of models.

    Args:
        has_server_key: whether the gateway has a provider key of its own.
        age_s: returns the age of the list of models in seconds, or None if it is unknown.
        size: returns the number of models.
    """

    def __init__(
        self,
        has_server_key: Callable[[], bool],
        age_s: Callable[[], float | None],
        size: Callable[[], int],
    ) -> None:
        self._has_server_key = has_server_key
        self._age_s = age_s
        self._size = size

    async def __call__(self, context: RequestContext) -> None:
        """Answer with the state as this caller sees it."""
        has_server = self._has_server_key()
        sent = context.exchange.request.headers.get(UPSTREAM_KEY_HEADER)
        has_user = bool(sent or context.caller.upstream_key)
        respond_json(
            context,
            {
                "key_source": "user" if has_user else "server" if has_server else "none",
                "has_server_key": has_server,
                "has_user_key": has_user,
                "cache_age_s": self._age_s(),
                "cache_size": self._size(),
            },
        )


class NodesHandler:
    """Answers `/system/nodes`: which model each named task uses."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes

    async def list_nodes(self, context: RequestContext) -> None:
        """Answer with every node.

        Raises:
            StoreError: the store cannot be read.
        """
        await self._nodes.refresh()
        respond_json(context, {"nodes": [node.as_json() for node in self._nodes.nodes]})

    async def patch_node(self, context: RequestContext) -> None:
        """Change a node, durably and for all workers, and answer with it.

        Raises:
            NotFound: there is no such node.
            InvalidRequest: an unknown field, or a wrong value.
            StoreError: the change could not be stored.
        """
        changes = await read_body(context.exchange.request.body, dict)
        node = await self._nodes.patch(context.path_parameter, changes)
        respond_json(context, node.as_json())


class HealthHandler:
    """Answers the routes for liveness, readiness and metrics.

    Args:
        metrics: the counters to serve.
        problem: returns why no request can be taken; None if requests can be.
    """

    def __init__(self, metrics: Metrics, problem: Callable[[], NotReady | None]) -> None:
        self._metrics = metrics
        self._problem = problem

    async def check_live(self, context: RequestContext) -> None:
        """Answer 200: the process is running."""
        respond_json(context, {"status": "ok"})

    async def check_ready(self, context: RequestContext) -> None:
        """Answer 200 if requests can be taken, or 503 with the ledger's state and the reason.

        Raises:
            QueueFull: the server is shutting down.
        """
        # first, so that a load balancer moves on even while the ledger still works
        if context.exchange.is_draining:
            raise QueueFull("This gateway is going down and takes no more requests.")
        problem = self._problem()
        if problem is None:
            respond_json(context, {"status": "ready", "ledger": LedgerState.READY.value})
            return
        found = {"ledger": problem.ledger, "message": problem.message}
        respond_json(context, {"status": "not ready", **found}, 503)

    async def serve_metrics(self, context: RequestContext) -> None:
        """Answer with the metrics in Prometheus' text format."""
        # the version of the text format (prometheus.io, "Exposition formats"), not of our metrics
        kind = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
        context.exchange.respond(200, self._metrics.render(), [kind])


def _select_usable(
    context: RequestContext, entries: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the entries of the models that the caller may use."""
    return [entry for entry in entries if _may_use(context, str(entry["id"]))]


def _may_use(context: RequestContext, model: str) -> bool:
    """Return whether a caller may request a model; the choice behind `auto…` respects the scope."""
    return model in AUTO_MODELS or context.caller.may_use(model)


def _reads_anthropic(context: RequestContext) -> bool:
    """Return whether the client reads models in Anthropic's shape."""
    headers = context.exchange.request.headers
    return dialect_of_client(headers) is ANTHROPIC_MESSAGES or is_claude_code(headers)


def _parse_limit(query: str) -> int:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "limit":
            # short texts only: parsing thousands of digits takes long
            if not (value.isascii() and value.isdigit() and 0 < len(value) < 7):
                raise InvalidRequest("limit: send a number of models.")
            return int(value)
    # more than any catalogue lists, so that a client without `limit` gets all of it
    return 10_000
