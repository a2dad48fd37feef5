"""Builds the OpenAPI description from the table of routes, and an HTML page that shows it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from devflow_server.error_responses import id_headers
from devflow_server.routes import Access, HttpRoute, RequestContext

_JSON = "application/json"
_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.CLIENT: [{"bearer": []}, {"apiKey": []}],
    Access.OPERATOR: [{"bearer": []}, {"apiKey": []}],
}


class OpenApiHandler:
    """Serves `/openapi.json` and `/docs`, neither of which loads anything from elsewhere.

    Args:
        routes: returns the whole table; called when a page is made.
        version: this program's version.
    """

    def __init__(self, routes: Callable[[], Sequence[HttpRoute]], version: str) -> None:
        self._routes = routes
        self._version = version

    async def serve_json(self, context: RequestContext) -> None:
        """Answer with the description as JSON."""
        headers = [("content-type", _JSON), *id_headers(context.request_id)]
        context.exchange.respond(200, orjson.dumps(self.build_document()), headers)

    async def serve_docs(self, context: RequestContext) -> None:
        """Answer with the description as plain HTML, without scripts."""
        headers = [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", _CONTENT_SECURITY_POLICY),
            ("x-content-type-options", "nosniff"),
            *id_headers(context.request_id),
        ]
        context.exchange.respond(200, self._render_html().encode(), headers)

    def build_document(self) -> dict[str, Any]:
        """Return the OpenAPI description as a JSON object."""
        paths: dict[str, dict[str, Any]] = {}
        for route in self._routes():
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
        return {
            "openapi": "3.1.0",
            "info": {"title": "DevFlow gateway", "version": self._version},
            "paths": paths,
            "components": {
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                }
            },
        }

    def _render_html(self) -> str:
        rows = "".join(
            f"<tr><td><code>{route.method}</code></td><td><code>{html.escape(route.path)}</code>"
            f"</td><td>{html.escape(route.summary)}</td><td>{route.access.value}</td></tr>"
            for route in self._routes()
            if route.access is not None
        )
        return _PAGE.format(rows=rows, version=html.escape(self._version))


def _operation(route: HttpRoute) -> dict[str, Any]:
    """Return the description of one route, with the statuses that it may answer with."""
    assert route.access is not None  # noqa: S101 - the table has checked it
    responses = {"200": "It was done.", "400": "The request is wrong.", "404": "There is none."}
    if route.access is not Access.OPEN:
        responses |= {"401": "A client key is needed.", "403": "This key may not do it."}
    if route.group in ("chat", "embeddings"):
        responses |= {
            "402": "A budget does not allow it.",
            "409": "The call under this idempotency key was killed; its outcome is not known.",
            "413": "The body is too large.",
            "422": "This idempotency key stands for another body.",
            "429": "The provider wants us to wait.",
            "500": "The gateway has failed.",
            "502": "The provider has failed.",
            "504": "The provider took too long.",
        }
    responses["503"] = "Too many requests, or no ledger."
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()} {route.path}",
        "security": _SECURITY[route.access],
        "responses": {status: _response(route, text) for status, text in responses.items()},
    }
    if "{" in route.path:
        name = route.path.partition("{")[2].rstrip("}")
        schema = {"type": "string", "minLength": 1}
        operation["parameters"] = [{"name": name, "in": "path", "required": True, "schema": schema}]
    if route.body_schema is not None:
        content = {_JSON: {"schema": {"type": "object", **route.body_schema}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _response(route: HttpRoute, text: str) -> dict[str, Any]:
    kinds = {"/docs": ["text/html"], "/metrics": ["text/plain"]}.get(route.path, [])
    stream = ["text/event-stream"] if route.group == "chat" else []
    return {"description": text, "content": {kind: {} for kind in (_JSON, *kinds, *stream)}}


# the page has a style of its own and nothing else, so nothing else is allowed
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>DevFlow gateway</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc }}
</style>
<h1>DevFlow gateway {version}</h1>
<p>Base URLs: <code>…/v1</code> for OpenAI's SDKs, without <code>/v1</code> for Anthropic's and
Claude Code. Keys: <code>Authorization: Bearer</code> or <code>x-api-key</code>.
Description for programs: <a href="/openapi.json">openapi.json</a>.</p>
<table><tr><th>Method</th><th>Path</th><th>Does</th><th>For</th></tr>{rows}</table>
</html>
"""
