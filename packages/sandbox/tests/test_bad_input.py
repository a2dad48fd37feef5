"""Whatever a client sends gets an answer that OpenRouter could give, never a trace."""

from __future__ import annotations

import copy
from typing import Any, cast

import orjson
from devflow_sandbox import Sandbox
from devflow_sandbox.app import SandboxApp
from devflow_sandbox.message import SandboxRequest
from hypothesis import example, given
from hypothesis import strategies as st

MARK = {"type": "ephemeral", "ttl": "1h"}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CALL = {"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}}
TEXT = {"type": "text", "text": "hi", "cache_control": MARK}
CHAT: dict[str, Any] = {
    "model": "openai/gpt-5-mini",
    "models": ["anthropic/claude-sonnet-4.5:online"],
    "messages": [
        {"role": "system", "content": [TEXT]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "user", "content": [TEXT, {"type": "image_url", "image_url": {"url": "x"}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "a", "parameters": SCHEMA}}],
    "tool_choice": {"type": "function", "function": {"name": "a"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "b", "schema": SCHEMA}},
    "reasoning": {"effort": "low", "enabled": True, "exclude": False},
    "provider": {"order": ["openai"], "max_price": {"prompt": 5}, "data_collection": "deny"},
    "plugins": [{"id": "web", "enabled": True}],
    "max_tokens": 99,
    "session_id": "s",
    "user": "u",
    "stream": True,
    "prompt_cache_options": {"mode": "explicit"},
}
MESSAGES: dict[str, Any] = {
    "model": "anthropic/claude-sonnet-4.5",
    "fallbacks": [{"model": "openai/gpt-5-mini"}],
    "max_tokens": 999,
    "system": [TEXT],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "a"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
    ],
    "tools": [{"name": "a", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
    "thinking": {"type": "enabled", "budget_tokens": 100},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "metadata": {"user_id": "u"},
    "stream": False,
}
RESPONSES: dict[str, Any] = {
    "model": "openai/gpt-5-mini",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "a", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    ],
    "tools": [{"type": "function", "name": "a", "parameters": SCHEMA}],
    "tool_choice": "required",
    "text": {"format": {"type": "json_schema", "name": "b", "schema": SCHEMA}},
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 500,
    "stream": True,
}
EMBEDDINGS: dict[str, Any] = {
    "model": "openai/text-embedding-3-small",
    "input": ["a", "b"],
    "dimensions": 4,
    "encoding_format": "base64",
}
RERANK: dict[str, Any] = {
    "model": "voyageai/rerank-2.5-lite",
    "query": "q",
    "documents": ["a", {"text": "b"}],
    "top_n": 1,
}
IMAGES: dict[str, Any] = {
    "model": "google/gemini-3.1-flash-lite-image",
    "prompt": "p",
    "n": 1,
    "seed": 4,
}
SOUND: dict[str, Any] = {
    "model": "openai/gpt-4o-mini-transcribe",
    "input_audio": {"data": "UklGRg==", "format": "wav"},
    "response_format": "verbose_json",
    "language": "english",
}
KEYS: dict[str, Any] = {
    "name": "k",
    "limit": 5,
    "limit_reset": "daily",
    "expires_at": "2027-01-01T00:00:00Z",
    "include_byok_in_limit": True,
}
GRANT: dict[str, Any] = {"code": "c", "code_verifier": "v", "code_challenge_method": "S256"}
FAULTS: dict[str, Any] = {
    "faults": [{"id": "f", "when": {"nth": [1]}, "then": {"kind": "drop", "at": {"byte": 1}}}]
}
TURNS: dict[str, Any] = {
    "turns": [
        {
            "when": {"tool": "a"},
            "reply": {"text": "t", "tool_calls": [{"name": "a", "arguments": {"x": 1}}]},
        }
    ]
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/chat/completions": CHAT,
    "/api/v1/messages": MESSAGES,
    "/api/v1/responses": RESPONSES,
    "/api/v1/embeddings": EMBEDDINGS,
    "/api/v1/rerank": RERANK,
    "/api/v1/images": IMAGES,
    "/api/v1/audio/transcriptions": SOUND,
    "/api/v1/keys": KEYS,
    "/api/v1/auth/keys": GRANT,
    "/sandbox/faults": FAULTS,
    "/sandbox/script": TURNS,
    "/sandbox/clock": {"advance_s": 1},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where in a body something can be exchanged."""
    paths = [path]
    if isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            paths += places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            paths += places(inner, (*path, index))
    return paths


@st.composite
def wrong_requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A right body in which up to three values have been exchanged for anything."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body: Any = copy.deepcopy(BODIES[path])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(body)))
        if not place:
            continue
        holder = body
        for part in place[:-1]:
            holder = holder[part]
        holder[place[-1]] = draw(JSON)
    return path, orjson.dumps(body)


@given(wrong_requests())
@example(("/api/v1/chat/completions", b'{"model": "a", "messages": [{"role": {}}]}'))
def test_wrong_fields_get_an_answer(request: tuple[str, bytes]) -> None:
    path, body = request
    sandbox = Sandbox()
    is_management = path.endswith("/v1/keys")
    key = sandbox.management_key if is_management else sandbox.api_key
    answer = SandboxApp(sandbox.state).answer(
        SandboxRequest(
            method="PUT" if path.startswith("/sandbox") else "POST",
            path=path,
            headers={"authorization": f"Bearer {key}"},
            body=body,
        )
    )
    list(answer.steps)
    assert answer.status < 500


@given(st.binary(max_size=60), st.text(max_size=20), st.sampled_from(sorted(BODIES)))
def test_any_bytes_query_and_content_type_get_an_answer(body: bytes, text: str, path: str) -> None:
    sandbox = Sandbox()
    for kind in ("application/json", "multipart/form-data; boundary=x", text):
        headers = {"authorization": f"Bearer {sandbox.api_key}", "content-type": kind}
        request = SandboxRequest(method="POST", path=path, query=text, headers=headers, body=body)
        assert SandboxApp(sandbox.state).answer(request).status < 500
    for place in ("/auth", "/api/v1/models", "/api/v1/generation", "/sandbox/bill"):
        for method in ("GET", "POST"):
            request = SandboxRequest(method=method, path=place, query=text, headers={}, body=body)
            assert SandboxApp(sandbox.state).answer(request).status < 500
