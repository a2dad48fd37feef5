"""Sends a gateway under test the requests that the checks need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from devflow_core.wire import SseReader

# As Claude Code 2.1.329 sends them; a gateway has to pass on or ignore values that it does not
# know.
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
CLAUDE_HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": BETAS,
    "user-agent": "claude-cli/2.1.329 (external, sdk-cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "00000000-0000-4000-8000-000000000000",
}
SMALL_REQUEST: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Say ok."}],
}


class CheckFailed(Exception):
    """A promise that the gateway does not keep; the message says what that breaks."""


def require(condition: object, message: str) -> None:
    """Fail the check unless the condition holds.

    Raises:
        CheckFailed: the condition does not hold.
    """
    if not condition:
        raise CheckFailed(message)


class GatewayUnderTest:
    """Sends requests to the gateway; the caller closes the client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a JSON body with POST, and return the answer whatever its status is.

        Raises:
            httpx.HTTPError: there is no answer.
        """
        return await self.client.post(path, json=body, headers=dict(headers or {}))

    async def messages(self, **changes: Any) -> httpx.Response:
        """Send a small request as Claude Code does, and return the answer.

        `changes` are fields of its body, added or replaced.
        """
        path = "/v1/messages?beta=true"
        return await self.post(path, {**SMALL_REQUEST, **changes}, CLAUDE_HEADERS)

    async def events(self, **changes: Any) -> Sequence[tuple[str, str]]:
        """Send a streamed request, and return its events as pairs of name and data.

        The name is empty if the event has none; comments are left out.

        Raises:
            CheckFailed: the status is not 200.
        """
        reply = await self.messages(stream=True, **changes)
        require(reply.status_code == 200, f"a streamed request gets status {reply.status_code}")
        reader = SseReader()
        frames = [*reader.feed(reply.content), *reader.close()]
        return [(one.event or "", one.data.decode()) for one in frames if one.data is not None]
