"""A reply that several calls made is booked at the cost of all of them, also where none is told."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_openrouter.testing import ScriptedUpstream
from devflow_server import run_gateway

MODEL = "anthropic/claude-haiku-4.5"
"""Shipped at 1 USD for a million tokens of input, and 5 of output."""
COMPACTION = {"type": "compaction", "input_tokens": 150_000, "output_tokens": 2_000}
MESSAGE = {"type": "message", "input_tokens": 100, "output_tokens": 5}
ADVISOR = {
    "type": "advisor_message",
    "model": "claude-opus-4-7",
    "input_tokens": 2_000,
    "output_tokens": 100,
}


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def message(usage: dict[str, Any], *content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "gen-a",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(content),
        "stop_reason": "end_turn" if content else None,
        "usage": usage,
    }


def streamed(usage: dict[str, Any]) -> tuple[str, bytes]:
    delta = {"type": "text_delta", "text": "hi"}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    frames = (
        event("message_start", message=message({"input_tokens": 10, "output_tokens": 1})),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta=delta),
        event("content_block_stop", index=0),
        event("message_delta", delta=ending, usage=usage),
        event("message_stop"),
    )
    return "text/event-stream", b"".join(frames)


def whole(usage: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", orjson.dumps(message(usage, {"type": "text", "text": "hi"}))


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("iterations", "tokens", "at_least_usd"),
    [
        ([MESSAGE], (100, 5), "0.000125"),
        ([COMPACTION, MESSAGE], (150_100, 2_005), "0.160125"),
        ([MESSAGE, ADVISOR], (2_100, 105), "0.002625"),
    ],
)
async def test_the_sum_of_the_iterations_is_booked(
    iterations: list[dict[str, Any]],
    tokens: tuple[int, int],
    at_least_usd: str,
    tmp_path: Path,
    *,
    is_stream: bool,
) -> None:
    usage = {"input_tokens": 100, "output_tokens": 5, "iterations": iterations}
    kind, body = streamed(usage) if is_stream else whole(usage)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    upstream = ScriptedUpstream().add_script(head.encode() + body)
    async with upstream.serve():
        settings = Settings.load(
            {},
            None,
            base_url=upstream.base_url,
            api_key="sk-or-v1-" + "0" * 64,
            port=0,
            require_key=False,
            data_dir=tmp_path,
        )
        async with (
            run_gateway(settings) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client,
        ):
            request = {
                "model": MODEL,
                "max_tokens": 1_000,
                "messages": [{"role": "user", "content": "hi"}],
                "stream": is_stream,
            }
            reply = await client.post("/v1/messages", json=request)
    assert reply.status_code == 200, reply.text
    (entry,) = wiring.make_store(settings).entries()
    (attempt,) = entry.attempts
    assert (attempt.usage.prompt_tokens, attempt.usage.completion_tokens) == tokens
    assert entry.cost_status == "estimated"
    is_priced_alone = ADVISOR not in iterations
    if is_priced_alone:
        assert entry.cost_usd == Decimal(at_least_usd)
    else:  # the advisor's own price is not known at this point: never below what was held back
        assert attempt.reserved_usd is not None
        assert entry.cost_usd == max(Decimal(at_least_usd), attempt.reserved_usd)
