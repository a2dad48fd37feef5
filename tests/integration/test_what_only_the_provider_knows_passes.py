"""What only the provider has a word for goes to it untouched, in the same dialect."""

from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.wire import DIALECTS, get_dialect
from devflow_openrouter.testing import error_reply
from dialect_samples import samples_of
from integration.upstream_door import MODEL, open_door

_SEARCH_RESULT = {
    "type": "search_result", "source": "https://x", "title": "T",
    "content": [{"type": "text", "text": "found"}], "citations": {"enabled": True},
}  # fmt: skip
_CALL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("anthropic_messages", {"messages": [
        {"role": "user", "content": "Look."}, {"role": "assistant", "content": [_CALL]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [_SEARCH_RESULT]}]}]}),
    ("anthropic_messages", {
        "mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}),
    ("anthropic_messages", {"messages": [
        {"role": "user", "content": [
            {"type": "new_block", "x": 1}, {"type": "text", "text": "?"}]}]}),
    ("anthropic_messages", {"messages": [{"role": "judge", "content": "Well?"}]}),
    ("openai_chat", {"messages": [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "found"}],
        "functions": [{"name": "f", "parameters": {}}]}),
    ("openai_chat", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": "https://x/y.png"},
        {"type": "new_part", "x": 1}]}]}),
    ("openai_chat", {"messages": [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"p": 1}}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "new_part", "x": 1}]}]}),
    ("openai_chat", {"messages": [{"role": "critic", "content": "Well?"}]}),
    ("openai_responses", {"input": [
        {"type": "message", "role": "user", "content": [{"type": "new_part", "x": 1}]},
        {"type": "new_item", "x": 1},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"p": 1}},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "new_part"}]},
        {"type": "message", "role": "critic", "content": "Well?"}]}),
    ("openai_responses", {"tools": [{"type": "new_tool", "x": 1}]}),
]  # fmt: skip


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(("wire", "fields"), REQUESTS)
async def test_it_reaches_the_provider_as_it_came(
    tmp_path: Path, wire: str, fields: dict[str, Any], is_stream: bool
) -> None:
    async with open_door(tmp_path, (error_reply(400, "I do not know that."),)) as door:
        reply = await door.send(wire, stream=is_stream, **fields)
        assert "I do not know that." in reply.text  # the provider's own answer
        (sent,) = door.upstream.bodies
        assert {key: sent[key] for key in fields} == fields
        assert "x-devflow-omitted" not in reply.headers


@pytest.mark.parametrize(("wire", "fields"), REQUESTS)
def test_another_api_is_sent_what_it_can_take_and_the_rest_is_told(
    wire: Any, fields: dict[str, Any]
) -> None:
    body = {"model": MODEL, **samples_of(wire).asks, **fields}
    request = get_dialect(wire).decode_request(body, {})
    for other in DIALECTS:
        if other == wire:
            again = get_dialect(wire).encode_request(request.with_messages(request.messages), MODEL)
            assert not [one for one in again.omitted if "part" in one or "role" in one]
            continue
        try:
            encoded = get_dialect(other).encode_request(request, MODEL)
        except InvalidRequest:
            if samples_of(other).carries_calls:
                raise
            continue  # told by refusing it
        assert b"new_" not in encoded.body
        assert b"mcp_toolset" not in encoded.body
        assert encoded.omitted


def test_a_request_of_which_nothing_is_left_is_refused() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "new_block"}]}]}
    request = get_dialect("anthropic_messages").decode_request(body, {})
    with pytest.raises(InvalidRequest, match="nothing is left"):
        get_dialect("openai_chat").encode_request(request, MODEL)
