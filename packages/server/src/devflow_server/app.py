"""The application: finds the route, lets the caller in, and turns every failure into a reply."""

from __future__ import annotations

import asyncio
import time

import structlog
from devflow_core.errors import DevFlowError, Forbidden, NotFound, Overloaded
from devflow_core.ids import new_id
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.messages import WireName

from devflow_server.auth import ANONYMOUS, Authenticator, Caller, presented_secrets
from devflow_server.error_responses import InternalError, error_body, error_headers
from devflow_server.http import ClientDisconnected, Exchange
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.tracing import Tracing
from devflow_server.routes import Access, HttpRoute, RequestContext, RouteMatch, RouteTable

_CLIENT_CLOSED_STATUS = 499
"""In logs and metrics: the client went before it was answered (nginx's number)."""


class MethodNotAllowed(NotFound):
    """The path is right and the method is wrong."""

    code = "method_not_allowed"
    status_hint = 405


class App:
    """What the listener calls for each request.

    Args:
        routes: the table of routes.
        authenticator: who may come in.
        metrics: what is counted.
        tracing: told of every request that was let in.
    """

    def __init__(
        self, routes: RouteTable, authenticator: Authenticator, metrics: Metrics, tracing: Tracing
    ) -> None:
        self._tracing = tracing
        self.routes = routes
        self._authenticator = authenticator
        self._metrics = metrics
        self._log = structlog.get_logger("devflow.access")

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request; raises cancellation and `ClientDisconnected` only."""
        request_id = new_id("req")
        began_s = time.monotonic()
        route: HttpRoute | None = None
        context: RequestContext | None = None
        presented = presented_secrets(exchange.request.headers)
        for secret in presented:
            KNOWN_SECRETS.hold(secret)
        try:
            found = self._find_route(exchange)
            route = found.route
            caller = await self._authorize(exchange, route)
            context = RequestContext(
                exchange=exchange,
                route=route,
                request_id=request_id,
                caller=caller,
                path_parameter=found.parameter,
            )
            await route.handler(context)
        except DevFlowError as error:
            self._send_error(exchange, route, request_id, error)
        except (asyncio.CancelledError, ClientDisconnected):
            if exchange.is_draining and not exchange.is_started:
                going = Overloaded("The gateway is going down. Ask again.", retry_after_s=1.0)
                self._send_error(exchange, route, request_id, going)
            raise
        except Exception:  # noqa: BLE001 - the outermost handler: the client gets an answer
            path = route.path if route else None  # as declared: what was sent is the caller's text
            self._log.exception("fault", request_id=request_id, route=path)
            self._send_error(exchange, route, request_id, InternalError("The gateway has failed."))
        finally:
            self._record(exchange, route, context, request_id, time.monotonic() - began_s)
            for secret in presented:
                KNOWN_SECRETS.release(secret)

    def _find_route(self, exchange: Exchange) -> RouteMatch:
        request = exchange.request
        self._authenticator.check_origin(request)
        found = self.routes.find(request.method, request.path)
        if found is not None:
            return found
        methods = self.routes.allowed_methods(request.path)
        if methods:
            raise MethodNotAllowed(f"This path takes {', '.join(methods)}.")
        if request.path.startswith("/v1/v1/"):
            raise NotFound("There is no such path: the client adds /v1 itself, leave it out.")
        raise NotFound("There is no such path; /docs lists what there is.")

    async def _authorize(self, exchange: Exchange, route: HttpRoute) -> Caller:
        if route.access is Access.OPEN:
            return ANONYMOUS
        caller = await self._authenticator.authenticate(exchange.request)
        if route.access is Access.OPERATOR:
            if not caller.is_operator:
                raise Forbidden("Only a key with the scope `operate` may do this.")
        elif caller.groups is not None and route.group not in caller.groups:
            raise Forbidden(f"This client key has not the scope `{route.group}`.")
        return caller

    def _send_error(
        self, exchange: Exchange, route: HttpRoute | None, request_id: str, error: DevFlowError
    ) -> None:
        if exchange.is_started:
            return  # the connection is closed without an end: nobody takes the reply for whole
        body = error_body(error, _error_dialect(exchange, route), request_id)
        headers = error_headers(error, request_id)
        if isinstance(error, MethodNotAllowed):
            headers.append(("allow", ", ".join(self.routes.allowed_methods(exchange.request.path))))
        exchange.respond(error.status_hint, body, headers)

    def _record(  # one line of the access log is one flat record
        self,
        exchange: Exchange,
        route: HttpRoute | None,
        context: RequestContext | None,
        request_id: str,
        total_s: float,
    ) -> None:
        status = exchange.status or _CLIENT_CLOSED_STATUS
        self._metrics.observe_request(route.path if route else "other", status, total_s)
        if context is not None:
            self._tracing.record(context, status, total_s)
        self._log.info(
            "request",
            request_id=request_id,
            method=exchange.request.method,
            route=route.path if route else None,
            status=status,
            total_s=round(total_s, 6),
            sent_bytes=exchange.sent_bytes,
            peer=exchange.request.peer,
            key=context.caller.name if context else None,
            **(context.log_fields if context else {}),
        )


def _error_dialect(exchange: Exchange, route: HttpRoute | None) -> WireName | None:
    """The dialect of an error: the route's, or OpenAI's below /v1, which most clients read."""
    if route is not None:
        return route.wire
    return "openai_chat" if exchange.request.path.startswith("/v1/") else None
