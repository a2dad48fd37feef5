from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
def chat_body() -> dict[str, Any]:
    """A plain request of the chat dialect."""
    question = "Why does test_login in tests/test_auth.py fail?"
    return {
        "model": "anthropic/claude-sonnet-4.5",
        "messages": [{"role": "user", "content": question}],
    }


@pytest.fixture
def client() -> Client:
    """Opens an httpx client on a sandbox in process."""

    def opened(sandbox: Sandbox, key: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=sandbox.transport(),
            base_url="http://sandbox/api/v1/",
            headers={"authorization": f"Bearer {key or sandbox.api_key}"},
        )

    return opened


@pytest.fixture
def events() -> Callable[[str], list[dict[str, Any]]]:
    """The JSON of every event of a stream, `[DONE]` left out."""

    def parsed(text: str) -> list[dict[str, Any]]:
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        return [orjson.loads(line) for line in lines if line != "[DONE]"]

    return parsed
