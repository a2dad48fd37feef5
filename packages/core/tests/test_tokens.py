"""The estimate of tokens is within its stated error, and below its upper end and the bound."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from devflow_core.media_tokens import max_media_tokens, media_tokens
from devflow_core.messages import (
    Media,
    Message,
    OpaquePart,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.request import ChatRequest, Tool
from devflow_core.tokens import (
    DEAREST_FAMILY,
    FAMILIES,
    MAX_FRAMING_TOKENS,
    TextCounter,
    TextSize,
    estimate_input_tokens,
    estimate_reply_tokens,
    estimate_tokens,
    family_of,
    max_tokens,
)
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = json.loads(
    (Path(__file__).parents[3] / "benchmarks/data/tokens/samples.json").read_bytes()
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_an_estimate_is_within_its_stated_error(sample: str, family: str) -> None:
    size = TextSize.from_texts((SAMPLES[sample]["text"],))
    tokens, error = SAMPLES[sample]["counts"][family], FAMILIES[family].error
    assert size.estimate_tokens(FAMILIES[family]) == pytest.approx(tokens, rel=error)
    assert tokens <= size.upper_tokens(FAMILIES[family]) <= max_tokens([SAMPLES[sample]["text"]])


@given(st.text())
def test_nobody_is_dearer_than_the_dearest(text: str) -> None:
    size = TextSize.from_texts((text,), schema_chars=len(text))
    for family in FAMILIES.values():
        assert size.estimate_tokens(family) <= size.estimate_tokens(DEAREST_FAMILY)
        assert size.upper_tokens(family) <= size.upper_tokens(DEAREST_FAMILY)


@given(st.text())
def test_an_estimate_is_under_its_upper_end_and_that_under_the_bound(text: str) -> None:
    size = TextSize.from_texts((text,))
    for one in (*FAMILIES.values(), DEAREST_FAMILY):
        assert size.estimate_tokens(one) <= size.upper_tokens(one) <= max_tokens([text])
        assert size.upper_input_tokens(one) == size.upper_tokens(one) + MAX_FRAMING_TOKENS


@given(st.lists(st.text(), max_size=8))
def test_text_in_pieces_is_the_same_text(pieces: list[str]) -> None:
    split, whole = TextCounter(), TextCounter()
    for piece in pieces:
        split.add(piece)
    whole.add("".join(pieces))
    assert split.size == whole.size == TextSize.from_texts(pieces)
    assert split.min_tokens == whole.min_tokens
    assert split.pieces == sum(map(bool, pieces))
    for one in (*FAMILIES.values(), DEAREST_FAMILY):
        assert whole.min_tokens <= whole.size.upper_tokens(one)


def test_a_long_reply_is_measured_a_block_at_a_time() -> None:
    counter = TextCounter()
    for number in range(20_000):
        counter.add(f"word {number % 10}, ")
    whole = estimate_tokens("".join(f"word {number % 10}, " for number in range(20_000)))
    assert counter.size.estimate_tokens(DEAREST_FAMILY) == pytest.approx(whole, rel=0.02)


def test_a_long_text_is_sampled() -> None:
    text = "Some words, and a few signs: (1 + 2). " * 400
    assert estimate_tokens(text * 20) == pytest.approx(estimate_tokens(text) * 20, rel=0.05)
    mixed = "plain words only " * 5_000 + '{"a": [1, 2, 3]}' * 5_000
    parts = estimate_tokens(mixed[:85_000]) + estimate_tokens(mixed[85_000:])
    assert estimate_tokens(mixed) == pytest.approx(parts, rel=0.05)


@pytest.mark.parametrize(
    ("model", "tokenizer", "family"),
    [
        ("openai/gpt-5-mini", "", "GPT"),
        ("gpt-4o", "", "GPT"),
        ("openai/gpt-4.1", "", "GPT"),
        ("openai/gpt-4", "", "GPT-4"),
        ("openai/gpt-4-turbo", "", "GPT-4"),
        ("claude-sonnet-4-5-20250929", "", "Claude"),
        ("~anthropic/claude-opus-latest", "Router", "Claude"),
        ("google/gemma-3:free", "", "Gemini"),
        ("deepseek/deepseek-r1-distill-llama-70b", "", "Llama"),
        ("acme/new", "GPT", "GPT"),
        ("acme/new", "Qwen3", "Qwen"),
    ],
)
def test_a_name_tells_the_family(model: str, tokenizer: str, family: str) -> None:
    assert family_of(model, tokenizer) is FAMILIES[family]


@pytest.mark.parametrize("model", ["auto", "", "x-ai/grok-5", "mistralai/mistral-large"])
def test_whom_nobody_knows_is_the_dearest(model: str) -> None:
    assert family_of(model, "Other") is DEAREST_FAMILY


def test_everything_that_goes_in_is_counted() -> None:
    parts = (
        Text(text="words " * 10),
        Reasoning(text="thought"),
        ToolCall(id="1", name="read", arguments='{"path": "a"}'),
        ToolResult(call_id="1", parts=(Text(text="日本語"),)),
        Media(kind="image", url="https://example.com/a.png"),
        OpaquePart(wire="openai_chat", body={}),
    )
    request = ChatRequest(
        model="claude-x",
        messages=(Message(role="user", parts=parts),),
        tools=(Tool(name="t", schema={"a": 1}),),
    )
    size = TextSize.from_request(request)
    assert size.wide_chars == 3
    assert size.schema_chars > 0
    assert size.extra_tokens == 4 + 1_600 + 50
    assert estimate_input_tokens(request) == size.estimate_tokens(FAMILIES["Claude"]) > 1_654 + 315
    assert estimate_reply_tokens(parts[:3], "claude-x") == size.from_texts(
        ["words " * 10, "thought", "read", '{"path": "a"}']
    ).estimate_tokens(FAMILIES["Claude"])


def a_pdf(pages: int, filler: int = 0) -> str:
    page = b"<< /Type /Page >>" + b" " * filler + b"\n"
    return b64encode(b"%PDF-1.4\n<< /Type /Pages >>\n" + page * pages).decode()


def test_a_document_costs_what_its_pages_do() -> None:
    def cost(**source: str) -> int:
        return media_tokens(Media(kind="file", **source))  # pyright: ignore[reportArgumentType]

    page = cost(base64=a_pdf(1))
    assert cost(base64=a_pdf(10)) == 10 * page
    assert cost(base64=a_pdf(100, filler=10_000)) == pytest.approx(100 * page, rel=0.1)
    assert cost(url="https://example.com/a.pdf") == cost(base64="no base64") == page
    assert cost(base64="A") == page  # cut in the middle of a byte
    assert cost(base64=b64encode(bytes(499_000)).decode()) == 10 * page
    assert cost(base64=a_pdf(5_000)) == 600 * page


def test_media_have_an_estimate_and_what_unfolds_a_bound() -> None:
    assert media_tokens(Media(kind="audio", base64="AAAA")) == 1_500
    assert media_tokens(Media(kind="video", base64="AAAA")) == 10_000
    assert max_media_tokens(Media(kind="image", base64="AAAA")) is None
    assert max_media_tokens(Media(kind="file", base64="A" * 4_000)) == 3_000
    assert max_media_tokens(Media(kind="audio", base64="A" * 4_000)) == 33
    # a second of the most tokens in the fewest bytes, and any of it
    for kind in ("audio", "video"):
        for size, least in ((3_000, 32), (9, 1)):
            media = Media(kind=kind, base64=b64encode(bytes(size)).decode())
            assert (max_media_tokens(media) or 0) >= least
    assert max_media_tokens(Media(kind="file", url="https://example.com/a.pdf")) == 0
