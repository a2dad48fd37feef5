"""Sends OpenTelemetry traces, if the extra `otel` is installed and an endpoint is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from devflow_core.addresses import hide_user_info, parse_address, parse_confidential_address
from devflow_core.errors import ConfigurationError
from devflow_core.masking import mask

from devflow_server.routes import RequestContext

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_NS_PER_S = 1_000_000_000


class Tracing(Protocol):
    """The port that receives each request once it is answered."""

    def record(self, context: RequestContext, status: int, total_s: float) -> None:
        """Record an answered request; `total_s` is its duration in seconds."""
        ...


class NoTracing:
    """Records nothing."""

    def record(self, context: RequestContext, status: int, total_s: float) -> None:
        """Ignore the request."""


class OpenTelemetryTracing:
    """Records one span per request, a child of the client's span if it sent a `traceparent`.

    Attributes follow the semantic conventions for HTTP and generative AI. They hold no text of a
    request, and secrets sent in place of a model are masked.

    Args:
        tracer: its exporter sends in a separate thread.
    """

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._kind = SpanKind.SERVER
        self._parent = TraceContextTextMapPropagator()

    def record(self, context: RequestContext, status: int, total_s: float) -> None:
        request, fields = context.exchange.request, context.log_fields
        end_ns = time_ns()
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "http.route": context.route.path,
            "http.response.status_code": status,
            "devflow.request_id": context.request_id,
        }
        reported = {
            "gen_ai.request.model": fields.get("requested"),
            "gen_ai.response.model": fields.get("model"),
            "devflow.cost_usd": fields.get("cost_usd"),
            "devflow.attempts": fields.get("attempts"),
            "devflow.cache": fields.get("cache"),
            "error.type": fields.get("error"),
        }
        attributes.update(
            {name: mask(str(value)) for name, value in reported.items() if value is not None}
        )
        span = self._tracer.start_span(
            f"{request.method} {context.route.path}",
            context=self._parent.extract(dict(request.headers)),
            kind=self._kind,
            attributes=attributes,
            start_time=end_ns - round(total_s * _NS_PER_S),
        )
        span.end(end_ns)


@asynccontextmanager
async def open_tracing(
    endpoint: str | None, *, allow_http: bool = False
) -> AsyncGenerator[Tracing]:
    """Yield a port that sends traces to an OTLP endpoint over HTTP; on exit, waiting ones are sent.

    Args:
        endpoint: an https URL, or http to this machine (`https://host:4318/v1/traces`); None traces
            nothing.
        allow_http: whether http to other machines is allowed.

    Raises:
        ConfigurationError: the endpoint is not allowed, or the extra is not installed.
    """
    if endpoint is None:
        yield NoTracing()
        return
    try:
        (parse_address if allow_http else parse_confidential_address)(endpoint)
    except ValueError as error:
        raise ConfigurationError(
            f"The setting otel_endpoint = {hide_user_info(endpoint)!r} is wrong: {error}; elsewhere"
            " only with otel_allow_http."
        ) from None
    try:
        # the extra may be missing, and only gateways that send traces should pay for the import
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigurationError(
            "otel_endpoint is set, but OpenTelemetry is not installed: "
            "add devflow-gateway-server[otel]."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "devflow"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    try:
        yield OpenTelemetryTracing(provider.get_tracer("devflow_server"))
    finally:
        await asyncio.to_thread(provider.shutdown)  # sends what is left
