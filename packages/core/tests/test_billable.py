"""A plain request has nothing billable besides its tokens; anything else is named by its path."""

import json
from pathlib import Path
from typing import Any

import pytest
from devflow_core.billable import Billable, NamedModel, Searches, read_billable
from devflow_core.errors import DevFlowError
from devflow_core.messages import WireName
from devflow_core.request import Origin, Tool
from devflow_core.testing import a_request
from devflow_core.wire import get_dialect

SAMPLES = Path(__file__).parent / "samples"


def read(wire: WireName = "openai_chat", **body: Any) -> Any:
    return read_billable(a_request(origin=Origin(wire=wire, body=body)))


@pytest.mark.parametrize(
    "path", sorted((SAMPLES / "claude_code").glob("*.json")), ids=lambda one: one.stem
)
def test_what_claude_code_sends_is_plain(path: Path) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))["body"]
    request = get_dialect("anthropic_messages").decode_request(body, {})
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
            request = get_dialect(wire).decode_request(exchange["request"], {})
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
    request = get_dialect("anthropic_messages").decode_request(body, {})
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


def paths(billable: Billable) -> list[tuple[str, str]]:
    """Return the path of each doubt, and what it concerns."""
    return [(one.path, one.concerns) for one in billable.doubts]


@pytest.mark.parametrize("tools", [["x"], [None], "function", 5])
def test_what_is_no_tool_is_doubted(tools: Any) -> None:
    billable = read(tools=tools)
    assert paths(billable) == [("tools.0", "both")]
    assert "a tool is an object with a type" in billable.doubts[0].text


@pytest.mark.parametrize("kind", [[], {}, ["function"], {"type": "function"}])
def test_a_type_that_is_no_text_is_doubted_and_not_repeated(kind: Any) -> None:
    billable = read(tools=[{"type": "function"}, {"type": kind}])
    assert paths(billable) == [("tools.1", "both")]
    assert "of that name" in billable.doubts[0].text


def test_a_single_tool_outside_a_list_is_read_as_one() -> None:
    assert read(tools={"type": "function"}).is_plain
    assert paths(read(tools={"type": "mystery"})) == [("tools.0", "both")]


def test_a_shell_is_free_only_where_the_client_runs_it() -> None:
    for environment in (None, {"type": "local"}):
        assert read(tools=[{"type": "shell", "environment": environment}]).is_plain
    for environment in ({"type": "container_auto"}, {}, "local"):
        tools = [{"type": "shell", "environment": environment}]
        assert paths(read(tools=tools)) == [("tools.0", "both")]


@pytest.mark.parametrize(
    ("name", "concerns"),
    [("datetime", None), ("tool_search", None), ("bash", "cost"), ("brand_new", "both")],
)
def test_server_tools_cost_their_turns_and_what_is_not_known(
    name: str, concerns: str | None
) -> None:
    stop = [{"type": "step_count_is", "step_count": 3}]
    billable = read(tools=[{"type": f"openrouter:{name}"}], stop_server_tools_when=stop)
    assert paths(billable) == ([] if concerns is None else [("tools.0", concerns)])
    assert billable.extra_turns == 4


def test_models_inside_a_tool_are_named_wherever_they_stand() -> None:
    parameters = {
        "analysis_models": ["a/one", {"model": "b/two"}],
        "model": None,
        "rounds": [{"model": "c/three"}, {"model": True}],
    }
    billable = read(tools=[{"type": "openrouter:fusion", "parameters": parameters}])
    start = "tools.0.parameters"
    assert billable.inside == (
        NamedModel(model="a/one", path=f"{start}.analysis_models.0"),
        NamedModel(model="b/two", path=f"{start}.analysis_models.1.model"),
        NamedModel(model="c/three", path=f"{start}.rounds.0.model"),
    )
    assert billable.alternates == ()
    assert paths(billable) == [(start, "cost")]


def test_what_is_no_plugin_is_doubted() -> None:
    billable = read(plugins=["web", {"id": "response-healing"}, None])
    assert paths(billable) == [("plugins.0", "both"), ("plugins.2", "both")]
    assert "a plugin is an object with an id" in billable.doubts[0].text


@pytest.mark.parametrize("name", [["web"], {"id": "web"}, None, 5])
def test_a_plugin_whose_id_is_no_text_is_doubted_and_not_repeated(name: Any) -> None:
    billable = read(plugins=[{"id": name}, {"id": name, "enabled": False}])
    assert paths(billable) == [("plugins.0", "both")]
    assert "of that name" in billable.doubts[0].text


@pytest.mark.parametrize(
    ("engine", "read_by"),
    [(None, ""), ("native", ""), ("pdf-text", "free"), ("cloudflare-ai", "free"),
     ("mistral-ocr", "ocr")],
)  # fmt: skip
def test_what_reads_a_file_has_a_price(engine: str | None, read_by: str) -> None:
    billable = read(plugins=[{"id": "file-parser", "pdf": {"engine": engine}}])
    assert billable.pdf_engine == read_by
    assert billable.is_plain is not bool(read_by)
    assert billable.doubts == ()


def test_a_reader_of_files_that_nobody_knows_is_doubted() -> None:
    billable = read(plugins=[{"id": "file-parser", "pdf": {"engine": "better-ocr"}}])
    assert paths(billable) == [("plugins.0.pdf.engine", "cost")]
    assert billable.pdf_engine == ""


def test_a_search_is_doubted_for_what_has_no_price_and_keeps_its_bound() -> None:
    plugin = {"id": "web", "engine": "exa", "max_results": 0, "mode": "max", "depth": 9}
    billable = read(plugins=[plugin])
    assert paths(billable) == [
        ("plugins.0.depth", "cost"),
        ("plugins.0.mode", "cost"),
        ("plugins.0.max_results", "cost"),
    ]
    (search,) = billable.searches
    assert search == Searches(
        path="plugins.0", max_count=1, max_results=5, may_be_native=False, is_once=True
    )
    known = read(plugins=[{"id": "web", "max_results": 9, "mode": "deep"}])
    assert known.doubts == ()
    assert [(one.max_results, one.may_be_native) for one in known.searches] == [(9, True)]


def test_a_new_field_is_doubted_unless_it_is_switched_off() -> None:
    switched_off: tuple[Any, ...] = (False, None, [], {})
    for off in switched_off:
        assert read(brand_new=off).is_plain
    for on in (True, "on", ["x"], {"a": 1}):
        assert paths(read(brand_new=on)) == [("brand_new", "both")]


def test_a_speed_without_a_price_is_doubted() -> None:
    assert read("anthropic_messages", speed="fast").speed == "fast"
    for speed in ("faster", 1, ["fast"]):
        assert paths(read("anthropic_messages", speed=speed)) == [("speed", "cost")]


def test_the_number_of_replies_is_a_bound_or_a_doubt() -> None:
    assert read(n=3).replies == 3
    for count in (0, -1, True, "3", 2.5, 1_001):
        billable = read(n=count)
        assert paths(billable) == [("n", "cost")]
        assert billable.replies == 1


def test_kinds_of_output_are_read_and_others_doubted() -> None:
    assert read(modalities=["text", "image", "audio"]).output_kinds == ("audio", "image")
    assert read(modalities="image").output_kinds == ("image",)
    assert read(audio={"voice": "alloy", "format": "wav"}).output_kinds == ("audio",)
    assert read(modalities=["text"], audio={"voice": "alloy"}).output_kinds == ("audio",)
    billable = read(modalities=["text", "image", "video"])
    assert paths(billable) == [("modalities", "cost")]
    assert billable.output_kinds == ("image",)


def test_edits_of_the_context_are_free_or_a_turn_or_a_doubt() -> None:
    edits = [
        {"type": "compact_20260112"},
        {"type": "clear_thinking_20251015"},
        {"type": "summarize_20270101"},
        {},
        "clear_all",
    ]
    billable = read("anthropic_messages", context_management={"edits": edits})
    assert billable.extra_turns == 1
    assert paths(billable) == [(f"context_management.edits.{at}", "cost") for at in (2, 3, 4)]
    listed = [{"type": "compaction", "compact_threshold": 1_000}, {"type": "other"}]
    billable = read("openai_responses", context_management=listed)
    assert billable.extra_turns == 1
    assert paths(billable) == [("context_management.1", "cost")]


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_tool_calls": 0},
        {"max_tool_calls": "2"},
        {"max_tool_calls": 1_001},
        {"stop_server_tools_when": [{"type": "max_cost", "step_count": 2}]},
        {"stop_server_tools_when": [{"type": "step_count_is", "step_count": 0}]},
        {"stop_server_tools_when": [{"type": "step_count_is"}, "step_count_is"]},
    ],
)
def test_what_is_no_number_of_steps_bounds_no_loop(bounds: dict[str, Any]) -> None:
    billable = read("openai_responses", tools=[{"type": "openrouter:datetime"}], **bounds)
    assert paths(billable) == [("tools.0", "cost")]
    assert billable.extra_turns == 0


def test_of_several_bounds_of_a_loop_the_smallest_holds() -> None:
    billable = read(
        "openai_responses",
        tools=[{"type": "openrouter:datetime"}],
        max_tool_calls=7,
        stop_server_tools_when=[
            {"type": "step_count_is", "step_count": 5},
            {"type": "step_count_is", "step_count": 2},
            {"type": "step_count_is", "step_count": 4},
        ],
    )
    assert billable.extra_turns == 3
    assert billable.doubts == ()


def test_a_panel_asks_only_models_that_are_named() -> None:
    named = {"id": "fusion", "analysis_models": ["a/b"], "model": "c/d"}
    billable = read(plugins=[named])
    assert {one.model for one in billable.inside} == {"a/b", "c/d"}
    assert billable.first_doubt("models") is None
    for missing in ("analysis_models", "model"):
        left = {key: value for key, value in named.items() if key != missing}
        doubt = read(plugins=[left]).first_doubt("models")
        assert doubt is not None
        assert "unnamed models" in doubt.why
