"""What a request says that an upstream cannot take is reported, by name and without its content."""

from dataclasses import replace

import structlog.testing
from devflow_core.ports import Call, UpstreamKey
from devflow_core.request import Origin
from devflow_core.testing import a_candidate, a_journal, a_request
from devflow_openrouter.client.api_client import ApiClient
from devflow_upstream.transport.protocol import HttpRequest, UpstreamExchange


class NoTransport:
    """Is never asked: a call is made ready and not entered."""

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


def test_what_is_left_out_of_a_request_is_logged_by_name() -> None:
    body = {"model": "a/b", "input": "secret words", "store": True}
    request = replace(a_request(), origin=Origin(wire="openai_responses", body=body))
    key = UpstreamKey(secret="sk-or-v1-x", id="k", source="server")
    call = Call(request=request, candidate=a_candidate("a/b"), journal=a_journal(), key=key)
    with structlog.testing.capture_logs() as logs:
        ApiClient(NoTransport()).open(call)
    assert logs == [
        {"event": "request.omitted", "log_level": "info", "model": "a/b", "omitted": ["store"]}
    ]
