"""What is read out of a request: nothing of a plain one, and every special thing by its path."""

import json
from pathlib import Path
from typing import Any

import pytest
from devflow_core.billable import NamedModel, read_billable
from devflow_core.errors import DevFlowError
from devflow_core.messages import WireName
from devflow_core.request import Origin, Tool
from devflow_core.testing import a_request
from devflow_core.wire import get_translator

SAMPLES = Path(__file__).parent / "samples"


def read(wire: WireName = "openai_chat", **body: Any) -> Any:
    return read_billable(a_request(origin=Origin(wire=wire, body=body)))


@pytest.mark.parametrize(
    "path", sorted((SAMPLES / "claude_code").glob("*.json")), ids=lambda one: one.stem
)
def test_what_claude_code_sends_is_plain(path: Path) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))["body"]
    request = get_translator("anthropic_messages").decode_request(body, {})
    assert read_billable(request).is_plain


def test_of_recorded_requests_only_server_tools_and_presets_have_no_bound() -> None:
    doubted = 0
    for line in (SAMPLES / "openrouter.jsonl").read_text(encoding="utf-8").splitlines():
        exchange = json.loads(line)
        wire: WireName = "openai_chat"
        if exchange["path"].endswith("/responses"):
            wire = "openai_responses"
        if not isinstance(exchange["request"], dict):
            continue
        try:
            request = get_translator(wire).decode_request(exchange["request"], {})
        except DevFlowError:
            continue
        for doubt in read_billable(request).doubts:
            doubted += 1
            assert doubt.path.startswith(("tools.", "preset")), doubt
    assert 0 < doubted < 15


def test_codex_and_the_vendors_sdks_are_plain() -> None:
    codex = read(
        "openai_responses",
        model="gpt-5-codex",
        instructions="You are Codex.",
        input=[{"type": "message", "role": "user", "content": "Hi."}],
        tools=[
            {"type": "function", "name": "shell", "parameters": {}},
            {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
            {"type": "local_shell"},
            {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "a"}]},
        ],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="1",
        service_tier="auto",
        text={"verbosity": "low"},
        client_metadata={"a": "b"},
    )
    assert codex.is_plain
    anthropic = read(
        "anthropic_messages",
        model="claude",
        messages=[],
        tools=[
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            {"type": "memory_20250818", "name": "memory"},
            {"type": "computer_20250124", "name": "computer"},
        ],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        speed="standard",
        service_tier="standard_only",
    )
    assert anthropic.is_plain
    chat = read(
        model="gpt-5",
        messages=[],
        n=1,
        logit_bias={},
        response_format={"type": "json_object"},
        modalities=["text"],
        background=None,
        prompt_cache_retention="24h",
        safety_identifier="x",
        verbosity="low",
    )
    assert chat.is_plain


@pytest.mark.parametrize(
    ("models", "named"),
    [
        (["a/one", "b/two"], [("a/one", "models.0"), ("b/two", "models.1")]),
        ("a/one", [("a/one", "models")]),
        ({"model": "a/one"}, [("a/one", "models.model")]),
        ([{"model": "a/one"}], [("a/one", "models.0.model")]),
    ],
)
def test_models_are_read_in_every_form(models: Any, named: list[tuple[str, str]]) -> None:
    expected = tuple(NamedModel(model=model, path=path) for model, path in named)
    assert read(models=models).alternates == expected
    assert read("anthropic_messages", fallbacks=models).alternates == tuple(
        NamedModel(model=model, path=path.replace("models", "fallbacks", 1))
        for model, path in named
    )


def test_what_is_no_model_and_odd_names_of_fields_are_not_repeated() -> None:
    body: dict[str, Any] = {"models": ["sk-secret words of the prompt"], "my secret field": 1}
    billable = read_billable(a_request(extra=body))
    assert billable.alternates == ()
    assert all("secret" not in one.text for one in billable.doubts)
    assert len(billable.doubts) == 2


def test_a_tool_that_looks_like_a_placeholder_is_read_all_the_same() -> None:
    body = {
        "messages": [{"role": "user", "content": "Hi."}],
        "tools": [{"type": "openrouter:advisor", "name": "DeferredToolPlaceholder"}],
    }
    request = get_translator("anthropic_messages").decode_request(body, {})
    assert read_billable(request).doubts


def test_tools_that_a_turn_brings_are_read() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [{"type": "mystery"}]}
    billable = read("openai_responses", input=[{"role": "user", "content": "Hi."}, item])
    assert [one.path for one in billable.doubts] == ["input.1.tools.0"]


def test_the_larger_limit_counts() -> None:
    assert read(max_tokens=5, max_completion_tokens=900).max_output_tokens == 900
    assert read_billable(a_request(max_output_tokens=7)).max_output_tokens == 7


def test_loops_are_bounded_by_their_steps() -> None:
    tools = [{"type": "openrouter:datetime"}]
    stop = [{"type": "step_count_is", "step_count": 3}]
    assert read(tools=tools).first_doubt("cost") is not None
    assert read(tools=tools, stop_server_tools_when=stop).extra_turns == 4
    assert read("openai_responses", tools=tools, max_tool_calls=2).extra_turns == 3


def test_tools_of_both_kinds_are_read_where_there_is_no_body() -> None:
    native = Tool(name="openrouter:advisor", native={"type": "openrouter:advisor"})
    billable = read_billable(a_request(tools=(native,), extra={"tools": [{"type": "mystery"}]}))
    assert {one.path.partition(".parameters")[0] for one in billable.doubts} == {
        "tools.0",
        "tools.1",
    }
