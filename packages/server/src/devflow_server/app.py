"""Finds the route of a request, admits its caller, and turns every failure into a reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from devflow_core.errors import (
    DevFlowError,
    Forbidden,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Unauthorized,
)
from devflow_core.ids import new_id
from devflow_core.masking import KNOWN_SECRETS

from devflow_server.auth import ANONYMOUS, Caller, Callers, presented_secrets
from devflow_server.error_responses import InternalError, OutOfMemory, error_headers, error_reply
from devflow_server.http import Admission, ClientDisconnected, Exchange, Request
from devflow_server.http.receiver import too_many_bytes
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.shortages import check_memory, is_memory_limited
from devflow_server.operations.tracing import Tracing
from devflow_server.routes import Access, Face, HttpRoute, RequestContext, RouteMatch, RouteTable

_CLIENT_CLOSED_STATUS = 499
"""The status in logs and metrics for a client that left before it was answered (nginx's number)."""


_MAX_ADMISSION_AGE_S = 1.0
"""Seconds after which the client key is checked again, if the body took longer to arrive."""


@dataclass(slots=True, kw_only=True, eq=False)
class AdmittedRequest(Admission):
    """The admission of a request, with its route and its caller."""

    found: RouteMatch | None = None
    """The route; None if none matches."""
    caller: Caller = ANONYMOUS
    at_s: float = 0.0
    """When the admission was decided, on the monotonic clock."""


class MethodNotAllowed(NotFound):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    status_hint = 405


class App:
    """The application that the listener calls for each request, and asks to admit it.

    Args:
        routes: the table of routes.
        callers: decides whether a caller is let in.
        metrics: counts requests, and callers without a valid key.
        tracing: gets each request that reached its handler, once that has ended.
        logs_requests: whether the access log gets a line for each request.
    """

    def __init__(
        self,
        routes: RouteTable,
        callers: Callers,
        metrics: Metrics,
        tracing: Tracing,
        *,
        logs_requests: bool = True,
    ) -> None:
        self._tracing = tracing
        self.routes = routes
        self._callers = callers
        self._metrics = metrics
        self._logs_requests = logs_requests
        self._log = structlog.get_logger("devflow.access")
        self._is_memory_limited = is_memory_limited()

    def admit(self, request: Request) -> AdmittedRequest | Coroutine[Any, Any, AdmittedRequest]:
        """Decide on a request by its head; the decision may be a refusal, and nothing is raised.

        A coroutine is returned only if a key has to be looked up.
        """
        found = None
        try:
            found = self._find_route(request)
            caller = self._recognize(request, found.route)
        except DevFlowError as error:
            return self._refuse(found, error)
        if caller is None:
            return self._look_up(request, found)
        return self._admit(found, caller)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request, and record it; raises cancellation and `ClientDisconnected` only."""
        request_id = new_id("req")
        began_s = time.monotonic()
        route: HttpRoute | None = None
        context: RequestContext | None = None
        presented = presented_secrets(exchange.request.headers)
        # held before anything can fail, so that no error and no log line shows a key
        for secret in presented:
            KNOWN_SECRETS.hold(secret)
        try:
            admitted = await self._read_admission(exchange.request)
            route = admitted.found.route if admitted.found else None
            context = self._open_context(exchange, admitted, request_id)
            await context.route.handler(context)
        except DevFlowError as error:
            self._send_error(exchange, route, request_id, error)
        except (asyncio.CancelledError, ClientDisconnected):
            # a client that left cancels too; only when draining is there still one to answer
            if exchange.is_draining and not exchange.is_started:
                going = Overloaded("The gateway is going down. Ask again.", retry_after_s=1.0)
                self._send_error(exchange, route, request_id, going)
            raise
        except Exception as fault:  # noqa: BLE001 - the outermost handler: the client gets an answer
            self._send_error(
                exchange, route, request_id, self._judge_fault(fault, route, request_id)
            )
        finally:
            # before the keys are released, since they mask what is logged here
            self._record(exchange, route, context, request_id, time.monotonic() - began_s)
            for secret in presented:
                KNOWN_SECRETS.release(secret)

    def _open_context(
        self, exchange: Exchange, admitted: AdmittedRequest, request_id: str
    ) -> RequestContext:
        """Return the context of an admitted request.

        Raises:
            DevFlowError: it was refused at its head, or there is no room for its bytes.
            MemoryError: there is no memory for what it will need.
        """
        if admitted.refusal is not None:
            raise admitted.refusal
        found = admitted.found
        assert found is not None  # noqa: S101 - admission needs a route
        _hold_body(exchange, admitted)
        if self._is_memory_limited:
            check_memory(len(exchange.request.body))
        return RequestContext(
            exchange=exchange,
            route=found.route,
            request_id=request_id,
            caller=admitted.caller,
            path_parameter=found.parameter,
        )

    def _judge_fault(
        self, fault: Exception, route: HttpRoute | None, request_id: str
    ) -> DevFlowError:
        """Return the error that a client gets for an unexpected exception, and log the latter."""
        path = route.path if route else None  # as declared: a path as sent may hold anything
        if isinstance(fault, MemoryError):  # the request's memory is free again
            self._log.error("no_memory", route=path)
            return OutOfMemory()
        self._log.error("fault", route=path, request_id=request_id, exc_info=fault)
        return InternalError("The gateway has failed.")

    async def _read_admission(self, request: Request) -> AdmittedRequest:
        """Return the decision made from the head; decide now if it is missing or too old."""
        known = request.admission
        if isinstance(known, AdmittedRequest) and (
            known.refusal is not None or request.arrived_s - known.at_s < _MAX_ADMISSION_AGE_S
        ):
            return known
        decided = self.admit(request)
        return decided if isinstance(decided, AdmittedRequest) else await decided

    def _find_route(self, request: Request) -> RouteMatch:
        # first, so that pages of other sites cannot even find out which paths exist
        self._callers.check_origin(request)
        found = self.routes.find(request.method, request.path)
        if found is not None:
            return found
        methods = self.routes.allowed_methods(request.path)
        if methods:
            raise MethodNotAllowed(f"This path takes {', '.join(methods)}.")
        if request.path.startswith("/v1/v1/"):
            raise NotFound("There is no such path: the client adds /v1 itself, leave it out.")
        raise NotFound("There is no such path; /docs lists what there is.")

    def _recognize(self, request: Request, route: HttpRoute) -> Caller | None:
        return ANONYMOUS if route.access is Access.OPEN else self._callers.recognize(request)

    async def _look_up(self, request: Request, found: RouteMatch) -> AdmittedRequest:
        try:
            caller = await self._callers.look_up(request, takes_former=found.route.serves_outages)
            return self._admit(found, caller)
        except DevFlowError as error:
            return self._refuse(found, error)

    def _admit(self, found: RouteMatch, caller: Caller) -> AdmittedRequest:
        route = found.route
        try:
            _check_rights(caller, route)
        except Forbidden as error:
            return self._refuse(found, error)
        return AdmittedRequest(
            owner=caller.id,
            # anybody reaches an open route, so it takes no bytes from them
            max_body_bytes=0 if route.access is Access.OPEN else route.max_body_bytes,
            found=found,
            caller=caller,
            at_s=time.monotonic(),
        )

    def _refuse(self, found: RouteMatch | None, error: DevFlowError) -> AdmittedRequest:
        if isinstance(error, Unauthorized):
            self._metrics.count_auth_failure()
        return AdmittedRequest(found=found, refusal=error)

    def _send_error(
        self, exchange: Exchange, route: HttpRoute | None, request_id: str, error: DevFlowError
    ) -> None:
        if exchange.is_started:
            return  # the connection closes without an end, so the reply is not taken for complete
        dialect, face = self.routes.manner_of_error(exchange.request, route)
        status, body = error_reply(
            error, dialect, request_id, is_for_application=face is Face.APPLICATION
        )
        headers = error_headers(error, request_id)
        # RFC 9110, 15.5.6: a 405 has to list the methods that the path accepts
        if isinstance(error, MethodNotAllowed):
            headers.append(("allow", ", ".join(self.routes.allowed_methods(exchange.request.path))))
        exchange.respond(status, body, headers)

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
        if not self._logs_requests:
            return
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


def _hold_body(exchange: Exchange, admitted: AdmittedRequest) -> None:
    """Count the body of an admitted request among the held bytes.

    Raises:
        PayloadTooLarge: the body is larger than its route accepts.
        QueueFull: there is no room.
    """
    max_bytes = admitted.max_body_bytes
    if max_bytes is not None and len(exchange.request.body) > max_bytes:
        raise PayloadTooLarge(f"This path takes bodies of {max_bytes} bytes at the most.")
    if not exchange.hold_body(admitted.owner):
        raise too_many_bytes()


def _check_rights(caller: Caller, route: HttpRoute) -> None:
    """Check that a caller may use a route.

    Raises:
        Forbidden: the key does not have the route's scope.
    """
    if route.access is Access.OPERATOR:
        if not caller.is_operator:
            raise Forbidden("Only a key with the scope `operate` may do this.")
        return
    if route.access is Access.OPEN or caller.groups is None or route.group in caller.groups:
        return
    raise Forbidden(f"This client key has not the scope `{route.group}`.")
