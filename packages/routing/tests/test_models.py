"""The catalogue, what requests need, how long they are, and what they are about."""

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, UnknownModel
from devflow_core.messages import Media, Message, Text, ToolResult
from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
from devflow_core.routing import SelectionCriteria
from devflow_core.testing import EPOCH, a_request
from devflow_openrouter.models.catalogue import load_shipped_catalogue, parse_catalogue
from devflow_routing import (
    Capability,
    Catalogue,
    TaskClassifier,
    needs_of,
)
from devflow_routing.classifier.features import extract_features, hash_of
from devflow_routing.classifier.prompt_text import MAX_CHARS, extract_human_prompt
from devflow_routing.classifier.rules import load_phrases
from hypothesis import given
from hypothesis import strategies as st

CATALOGUE = load_shipped_catalogue()
CLASSIFIER = TaskClassifier()
FORGETFUL = TaskClassifier(cache_size=0)


def row(model: str, **changes: Any) -> dict[str, Any]:
    prices = {"prompt": "0.000001", "completion": "0.000002"}
    return {"id": model, "context_length": 1000, "pricing": prices, **changes}


def catalogue(*rows: Any) -> Catalogue:
    return parse_catalogue({"data": list(rows)}, fetched_at=EPOCH)


def test_the_shipped_catalogue_is_whole() -> None:
    assert len(CATALOGUE) == 413
    assert CATALOGUE.skipped == ()
    haiku = CATALOGUE.find("anthropic/claude-haiku-4.5")
    assert haiku.price is not None
    assert haiku.price.prompt == Decimal("0.000001")
    assert haiku.author == "anthropic"


def test_a_price_that_is_not_known_is_not_free() -> None:
    for model in ("openrouter/auto", "google/lyria-3-pro-preview", "openrouter/free"):
        assert CATALOGUE.find(model).price is None
    free = CATALOGUE.find("openai/gpt-oss-20b:free")
    assert free.price is not None
    assert free.price.prompt == 0


def test_suffixes_and_presets_stand_for_their_model() -> None:
    floor = CATALOGUE.find("openai/gpt-5:floor")
    assert (floor.id, floor.price is None) == ("openai/gpt-5:floor", False)
    assert CATALOGUE.find("openai/gpt-5:nitro").price is None
    assert CATALOGUE.find("openai/gpt-5@preset/mine").price is None
    assert CATALOGUE.find("@preset/mine").context_length is None
    with pytest.raises(UnknownModel):
        CATALOGUE.find("openai/gpt-5:wings")


def test_a_row_that_cannot_be_read_is_skipped_and_named() -> None:
    found = catalogue(row("a/good"), {"id": "a/bad", "created": "long ago"}, "nonsense")
    assert [model.id for model in found.models] == ["a/good"]
    assert found.skipped == ("a/bad", "?")
    with pytest.raises(ConfigurationError):
        parse_catalogue({"data": []}, fetched_at=EPOCH)


@pytest.mark.parametrize(
    "overrides",
    [["x"], {"a": 1}, 5, [{"min_prompt_tokens": "few"}], [{"min_prompt_tokens": 1e400}]],
)
def test_a_row_with_malformed_overrides_of_its_price_is_skipped(overrides: object) -> None:
    bad = row("a/bad", pricing={"prompt": "1", "completion": "1", "overrides": overrides})
    found = catalogue(row("a/good"), bad)
    assert [model.id for model in found.models] == ["a/good"]
    assert found.skipped == ("a/bad",)


def test_overrides_correct_and_add_models() -> None:
    found = catalogue(row("a/one"), row("a/two")).with_overrides(
        {
            "a/one": {"context_length": 5, "quality": 0.9, "tools": True},
            "a/two": {"prompt_usd_per_mtok": "3"},
            "b/new": {"prompt_usd_per_mtok": 1, "completion_usd_per_mtok": 2},
            "b/half": {"prompt_usd_per_mtok": 1, "tools": False},
        }
    )
    one, two, new = found.find("a/one"), found.find("a/two"), found.find("b/new")
    assert one.quality == {"*": 0.9}
    assert one.capabilities & Capability.TOOLS
    assert two.price is not None
    assert two.price.prompt == Decimal("0.000003")
    assert new.price is not None
    assert new.price.completion == Decimal("0.000002")
    assert found.find("b/half").price is None
    assert found.version != catalogue(row("a/one"), row("a/two")).version
    assert catalogue(row("a/one")).with_overrides({}).version == catalogue(row("a/one")).version
    with pytest.raises(ConfigurationError, match=r"models\.a/one\.speed"):
        found.with_overrides({"a/one": {"speed": 3}})


def test_changes_since_yesterday_are_listed() -> None:
    before = catalogue(row("a/gone"), row("a/cheaper"), row("a/window"), row("a/ends"))
    after = catalogue(
        row("a/cheaper", pricing={"prompt": "0.0000005", "completion": "0.000002"}),
        row("a/window", context_length=2000),
        row("a/ends", expiration_date="2027-01-01"),
        row("a/unpriced", pricing={}),
    )
    found = [(one.model, one.kind) for one in after.changes_since(before)]
    assert found == [
        ("a/cheaper", "price_fell"),
        ("a/ends", "expires"),
        ("a/gone", "removed"),
        ("a/unpriced", "added"),
        ("a/window", "window"),
    ]


def test_needs_are_read_from_the_whole_request() -> None:
    image = Media(kind="image", url="https://example.com/a.png")
    message = Message(
        role="user",
        parts=(
            ToolResult(call_id="1", parts=(Text(text="see"), image)),
            Media(kind="audio", base64="AAAA"),
        ),
    )
    request = replace(
        a_request(),
        messages=(message,),
        tools=(Tool(name="look"),),
        tool_choice=ToolChoice(mode="required"),
        response_format=ResponseFormat(kind="json_schema"),
        reasoning=ReasoningOptions(effort="high"),
        criteria=SelectionCriteria(context_tokens=77),
    )
    needs = needs_of(request)
    assert needs.capabilities == (
        Capability.TOOLS
        | Capability.TOOL_CHOICE
        | Capability.IMAGES
        | Capability.AUDIO
        | Capability.JSON_SCHEMA
        | Capability.REASONING
    )
    assert needs.input_tokens == 77
    quiet = replace(a_request(), reasoning=ReasoningOptions(enabled=False))
    assert needs_of(quiet).capabilities == Capability.NO_REASONING
    plain = replace(a_request(), response_format=ResponseFormat(kind="json_object"))
    assert needs_of(plain).capabilities == Capability.JSON


def user(*texts: str) -> Message:
    return Message(role="user", parts=tuple(Text(text=text) for text in texts))


HARNESS = (
    "<system-reminder>\nYou should use the TodoWrite tool. Prove the theorem.\n</system-reminder>"
)


def test_the_prompt_is_the_humans_not_the_harness() -> None:
    result = Message(role="user", parts=(ToolResult(call_id="1", parts=(Text(text="poem"),)),))
    summary = user("This session is being continued from a previous conversation that ran out.")
    request = ChatRequest(
        messages=(
            Message(role="system", parts=(Text(text="You write novels."),)),
            summary,
            user(HARNESS, "Why does test_login fail with a KeyError in src/app.py? Please fix it."),
            Message(role="assistant", parts=(Text(text="I look."),)),
            user(HARNESS),
            result,
        )
    )
    assert extract_human_prompt(request).startswith("Why does test_login fail")
    assert "theorem" not in extract_human_prompt(request)
    assert CLASSIFIER.classify(request).type == "coding"


def test_a_short_prompt_is_read_with_the_one_before() -> None:
    request = ChatRequest(messages=(user("Write a haiku about autumn rain"), user("go on")))
    assert extract_human_prompt(request) == "Write a haiku about autumn rain\ngo on"
    assert CLASSIFIER.classify(request).type == "creative"


def test_a_long_prompt_is_read_at_both_ends() -> None:
    text = f"begin {'x' * 50_000} end"
    found = extract_human_prompt(ChatRequest.from_text(text))
    assert len(found) == MAX_CHARS
    assert found.startswith("begin")
    assert found.endswith("end")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What is the capital of France?", "knowledge"),
        ("Write a haiku about rain", "creative"),
        ("Prove that the square root of two is irrational", "math"),
        ("Refactor this Python module so that the unit tests pass", "coding"),
        ("翻译这句话", "text_ops"),
    ],
)
def test_plain_prompts_are_understood(text: str, kind: str) -> None:
    task = CLASSIFIER.classify(ChatRequest.from_text(text))
    assert task.type == kind
    assert task.reasons
    assert task.text == text
    assert 0 < task.confidence <= 1
    assert sum(share for _, share in task.domains) <= 1.001


def test_the_caller_knows_better() -> None:
    criteria = SelectionCriteria(task_type="planning", complexity="high")
    task = CLASSIFIER.classify(a_request(criteria=criteria))
    assert (task.type, task.complexity, task.confidence) == ("planning", "high", 1.0)
    assert task.domains == (("planning", 1.0),)


@given(st.text())
def test_any_text_has_a_task_and_the_same_each_time(text: str) -> None:
    request = ChatRequest.from_text(text)
    assert FORGETFUL.classify(request) == CLASSIFIER.classify(request)


def _own_words(text: str) -> set[str]:
    shipped = {word for found in load_phrases().values() for one in found for word in one.split()}
    return {word.lower() for word in re.findall(r"\w+", text)} - shipped


@pytest.mark.parametrize(
    "text",
    [
        "sk-or-v1-0123456789abcdefCANARYKEY0123456789abcdef",
        "postgres://admin:S3cretCANARYDB@prod",
        "hunter3CANARYPW",
        "Fix the tests of zanzibar_importer: it fails on 4111111111111111 with KeyError",
        "Schrijf een gedicht over de regen in Groningen",
        "翻译这句话 von Kanarienvogel",
    ],
)
def test_reasons_hold_no_word_of_the_prompt_but_shipped_ones(text: str) -> None:
    reasons = " ".join(CLASSIFIER.classify(ChatRequest.from_text(text)).reasons).lower()
    assert not {word for word in _own_words(text) if len(word) > 3 and word in reasons}
    assert not re.search("canary|0123|4111|zanzibar|groningen|kanarien", reasons)


@given(
    st.text(min_size=1, max_size=40), st.sampled_from(["Fix the bug in {}", "{}", "What is {}?"])
)
def test_all_that_a_reason_quotes_is_a_phrase_of_the_rules(word: str, frame: str) -> None:

    task = CLASSIFIER.classify(ChatRequest.from_text(frame.format(word)))
    shipped = {one for phrases in load_phrases().values() for one in phrases}
    assert set(re.findall("“([^”]*)”", task.reasons[0])) <= shipped
    assert set(re.sub("“[^”]*”", "", task.reasons[0])) <= set(" abcdefghijklmnopqrstuvwxyzL:;,_")


def test_reasons_still_tell_a_person_something() -> None:
    task = CLASSIFIER.classify(ChatRequest.from_text("Fix the failing unit test: f({}) == [1, 2]"))
    assert task.reasons[0].startswith("coding: “")
    assert "“fix the”" in task.reasons[0]
    assert "signs of code" in task.reasons[0]


def test_words_are_told_apart_whatever_their_case() -> None:
    assert hash_of("Haiku") == hash_of("haiku")
    assert hash_of("haiku") != hash_of("sonnet")
    assert hash_of("a haiku") in extract_features("Write a haiku").hashes
    with pytest.raises(ValueError, match="3 words"):
        hash_of("write a haiku")
    assert len(extract_features("").words) == 0
