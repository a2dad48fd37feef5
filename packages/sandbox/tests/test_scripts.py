"""Scripts of turns and of faults: what they do in order, and how a wrong one is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_core.errors import ConfigurationError
from devflow_sandbox import Sandbox
from devflow_sandbox.replies.picture import encode_picture

Client = Callable[..., httpx.AsyncClient]
BASH = {"name": "Bash", "input_schema": {"type": "object"}}


def messages(*turns: dict[str, Any], tools: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "anthropic/claude-sonnet-4.5",
        "max_tokens": 1000,
        "messages": list(turns) or [{"role": "user", "content": "Fix the test."}],
    }
    return body | ({"tools": [BASH]} if tools else {})


async def test_an_agent_is_led_turn_by_turn(client: Client) -> None:
    call = {"name": "Bash", "arguments": {"command": "pytest -q"}}
    turns = [
        {"when": {"tool": "Bash"}, "reply": {"text": "First the tests.", "tool_calls": [call]}},
        {"when": {"after_tool": True}, "reply": {"text": "They pass."}},
    ]
    sandbox = Sandbox(script={"turns": turns})
    async with client(sandbox) as http:
        aside = (await http.post("messages", json=messages(tools=False))).json()
        first = (await http.post("messages", json=messages())).json()
        result = {"type": "tool_result", "tool_use_id": first["content"][1]["id"], "content": "ok"}
        last = (
            await http.post(
                "messages",
                json=messages(
                    {"role": "user", "content": "Fix the test."},
                    {"role": "assistant", "content": first["content"]},
                    {"role": "user", "content": [result]},
                ),
            )
        ).json()
        remaining = (await http.get("http://x/sandbox/script")).json()["remaining"]
    assert "Fix the test." in aside["content"][0]["text"]
    assert first["stop_reason"] == "tool_use"
    assert first["content"][1]["input"] == {"command": "pytest -q"}
    assert (last["stop_reason"], last["content"][0]["text"]) == ("end_turn", "They pass.")
    assert remaining == 0


REMINDER = "<system-reminder>The todo list is empty.</system-reminder>"


@pytest.mark.parametrize(
    "after",
    [
        ({"role": "user", "content": [{"type": "text", "text": REMINDER}]},),
        ({"role": "system", "content": "The todo list is empty."},),
        ({"role": "system", "content": [{"type": "text", "text": REMINDER}]},) * 2,
    ],
    ids=["a reminder of the user", "a message of the system", "two of them"],
)
async def test_what_a_client_adds_to_a_result_is_no_question(client: Client, after: Any) -> None:
    turns = [
        {"when": {"after_tool": True}, "reply": {"text": "They pass."}},
        {"when": {"after_tool": False}, "reply": {"text": "Which tests?"}, "repeat": True},
    ]
    call: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
    conversation: list[dict[str, Any]] = [
        {"role": "user", "content": "Use the Bash tool."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
        *after,
    ]
    scripted, plain = Sandbox(script={"turns": turns}), Sandbox()
    async with client(scripted) as http:
        led = (await http.post("messages", json=messages(*conversation))).json()
        question = {"role": "user", "content": "And now?"}
        asked = (await http.post("messages", json=messages(*conversation, question))).json()
        first = {"role": "user", "content": "Fix the test."}
        begun = (await http.post("messages", json=messages(first, after[-1]))).json()
    async with client(plain) as http:
        composed = (await http.post("messages", json=messages(*conversation))).json()
        called = (await http.post("messages", json=messages(conversation[0], *after))).json()
    assert led["content"][0]["text"] == "They pass."
    assert asked["content"][0]["text"] == begun["content"][0]["text"] == "Which tests?"
    assert composed["stop_reason"] == "end_turn"
    assert called["stop_reason"] == "tool_use"


async def test_turn_that_repeats_refuses_or_is_cut(
    client: Client, chat_body: dict[str, Any]
) -> None:
    refusal = {"refusal": "I cannot help with that.", "finish_reason": "content_filter"}
    turns = [{"when": {"contains": "test_login"}, "reply": refusal, "repeat": True}]
    sandbox = Sandbox(script=orjson.dumps({"turns": turns}))
    async with client(sandbox) as http:
        for _ in range(2):
            choice = (await http.post("chat/completions", json=chat_body)).json()["choices"][0]
            assert choice["message"]["refusal"] == "I cannot help with that."
            assert choice["finish_reason"] == "content_filter"
        streamed = (await http.post("responses", json={**chat_body, "input": "test_login"})).json()
    assert streamed["output"][0]["content"][0]["type"] == "refusal"


async def test_max_tokens_cuts_a_reply_with_finish_reason_length(
    client: Client, chat_body: dict[str, Any]
) -> None:
    async with client(Sandbox()) as http:
        body = (await http.post("chat/completions", json={**chat_body, "max_tokens": 10})).json()
        response = (
            await http.post(
                "responses", json={**chat_body, "input": "go on", "max_output_tokens": 9}
            )
        ).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 10
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_faults_by_number_key_and_model(client: Client, chat_body: dict[str, Any]) -> None:
    then = {"kind": "status", "status": 503}
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"nth": 2}, [200, 503, 200, 200]),
        ({"nth": [1, 4]}, [503, 200, 200, 503]),
        ({"first": 3}, [200, 200, 503, 503]),
        ({"every": 2}, [200, 503, 200, 503]),
        ({"times": 1}, [503, 200, 200, 200]),
        ({"model": "openai/*"}, [200] * 4),
        ({"model": "anthropic/*", "path": "/chat/*", "method": "post"}, [503] * 4),
        ({"key": "sandbox"}, [503] * 4),
        ({"key": "other"}, [200] * 4),
        ({"stream": True}, [200] * 4),
        ({"probability": 0.0}, [200] * 4),
    ]
    for when, expected in cases:
        sandbox = Sandbox(faults={"faults": [{"when": when, "then": then}]})
        async with client(sandbox) as http:
            statuses = [
                (await http.post("chat/completions", json=chat_body)).status_code for _ in range(4)
            ]
        assert statuses == expected, when


async def test_draws_depend_on_the_seed_alone(client: Client, chat_body: dict[str, Any]) -> None:
    rule = {"when": {"probability": 0.5}, "then": {"kind": "status", "status": 503}}
    runs: list[list[int]] = []
    for seed in (1, 1, 2):
        async with client(Sandbox(seed=seed, faults={"faults": [rule]})) as http:
            runs.append(
                [
                    (await http.post("chat/completions", json=chat_body)).status_code
                    for _ in range(20)
                ]
            )
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 503}


async def test_a_providers_fault_is_answered_by_the_next_provider(
    client: Client, chat_body: dict[str, Any]
) -> None:
    down = {"when": {"provider": "anthropic"}, "then": {"kind": "status", "status": 502}}
    sandbox = Sandbox(faults={"faults": [down]})
    async with client(sandbox) as http:
        reply = (await http.post("chat/completions", json=chat_body)).json()
        only = {**chat_body, "provider": {"order": ["anthropic"], "allow_fallbacks": False}}
        failed = await http.post("chat/completions", json=only)
    assert reply["provider"] == "Amazon Bedrock"
    assert failed.status_code == 502
    assert [one["outcome"] for one in sandbox.bill()["calls"]] == ["completed", "failed"]


async def test_a_models_fault_is_answered_by_the_next_model(
    client: Client, chat_body: dict[str, Any]
) -> None:
    down = {"when": {"model": "anthropic/*"}, "then": {"kind": "status", "status": 429}}
    sandbox = Sandbox(faults={"faults": [down]})
    async with client(sandbox) as http:
        body = {**chat_body, "models": ["openai/gpt-5-mini"]}
        reply = (await http.post("chat/completions", json=body)).json()
        failed = (
            await http.post(
                "chat/completions", json={**chat_body, "models": ["anthropic/claude-opus-5"]}
            )
        ).json()
    assert reply["model"] == "openai/gpt-5-mini"
    assert sandbox.bill()["calls"][0]["model"] == "openai/gpt-5-mini"
    assert len(failed["error"]["metadata"]["previous_errors"]) == 1


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{"faults": [\n {"then": {"kind": "drop"}},\n {"then": \n}]}', 4, "Expecting value"),
        ('{"faults": [\n {"then": {"kind": "dorp"}}\n]}', 2, "does not match any of"),
        (
            '{"faults": [\n {"when": {"nth": 1,\n  "modle": "x"},\n  "then": {"kind": "stale"}}]}',
            3,
            "when.modle: Extra inputs",
        ),
        (
            '{\n"faults": [\n{"then": {"kind": "status",\n "status": 99}}]}',
            4,
            "greater than or equal to 200",
        ),
        (
            '{"faults": [{"then":\n{"kind": "drop",\n"at": {"byte": 1, "event": 2}}}]}',
            3,
            "give one of byte, event, share",
        ),
        ("[]", 1, "valid dictionary"),
    ],
)
def test_an_invalid_fault_script_is_reported_with_its_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        Sandbox(faults=path)
    assert f"{path}, line {line}: " in str(caught.value)
    assert problem in str(caught.value)


def test_an_unreadable_script_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Sandbox(script=tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match=r"script of turns: turns\.0\.reply"):
        Sandbox(script={"turns": [{}]})


async def test_wrong_scripts_are_refused_over_http(client: Client) -> None:
    sandbox = Sandbox(faults={"faults": [{"then": {"kind": "stale"}}]})
    async with client(sandbox) as http:
        for name in ("faults", "script"):
            reply = await http.put(f"http://x/sandbox/{name}", content=b'{"faults":\n[}')
            assert (reply.status_code, "line 2" in reply.text) == (400, True)
        in_force = (await http.get("http://x/sandbox/faults")).json()
        assert (await http.put("http://x/sandbox/faults")).json() == {"faults": 0}
        assert (await http.put("http://x/sandbox/script", json={"turns": []})).json() == {
            "turns": 0
        }
        schema = (await http.get("http://x/sandbox/faults/schema")).json()
    assert len(in_force["faults"]) == 1
    assert "TruncateFault" in schema["$defs"]


async def test_a_turn_can_wait_for_an_image(client: Client) -> None:
    turns = [
        {"when": {"has_media": True}, "reply": {"text": "Red."}},
        {"when": {"has_media": False}, "reply": {"text": "Nothing to see."}},
    ]
    source = {"type": "base64", "media_type": "image/png", "data": encode_picture("red")}
    image = {"type": "image", "source": source}
    said: list[str] = []
    async with client(Sandbox(script={"turns": turns})) as http:
        for content in ("What is it?", [image, {"type": "text", "text": "What is it?"}]):
            body = messages({"role": "user", "content": content})
            said.append((await http.post("messages", json=body)).json()["content"][-1]["text"])
    assert said == ["Nothing to see.", "Red."]
