"""A usage object of a transcript: its tokens, and what beside them decides the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from devflow_core.usage import MAX_TOKENS, Usage, parse_token_count
from devflow_core.wire.anthropic_messages.usage import decode_iterations

Json = dict[str, Any]

_ORDINARY = (None, "", "standard")
_ANYWHERE = (None, "", "global", "not_available")
_FREE_TOOLS = ("web_search_requests", "web_fetch_requests", "tool_search_requests")
"""Searches have a price of their own; the other two cost the tokens they bring (Anthropic,
"Pricing", read 2026-11)."""

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


class TranscriptTokens(NamedTuple):
    """The usage of one row as Anthropic counts it; the five do not overlap."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int


NO_TOKENS = TranscriptTokens(0, 0, 0, 0, 0)


class Billing(NamedTuple):
    """What of a usage object decides the cost beside the tokens of one ordinary call."""

    calls: tuple[tuple[str | None, TranscriptTokens], ...] = ()
    """The calls that made the reply where they were several: the model of an advisor or None for
    the reply's own, and its tokens."""
    variant: str = ""
    """How a catalogue marks the speed and tier: `-fast`, `:batch`."""
    searches: int = 0
    """Web searches, billed by the piece."""
    is_us_only: bool = False
    """Anthropic kept it within the United States, at a higher price."""
    is_impossible: bool = False
    """Its counts cannot be; they are taken for nothing."""
    unpriced: tuple[str, ...] = ()
    """What costs an unknown amount on top; each continues "2 replies …"."""


_PLAIN = Billing()


def parse_usage(usage: object) -> tuple[TranscriptTokens | None, Billing | None]:
    """The tokens of a usage object, None where there is none; and the rest, None where ordinary."""
    if not isinstance(usage, dict):
        return None, None
    counts = cast("Json", usage)
    plain = _parse_plain(counts)
    if plain is not None:
        return plain, None
    iterations = decode_iterations(_with_defaults(counts))
    if not iterations:
        return NO_TOKENS, _PLAIN._replace(is_impossible=True)
    calls = tuple((one.model, _as_tokens(one.usage)) for one in iterations)
    tools = counts.get("server_tool_use")
    server_calls = cast("Json", tools) if isinstance(tools, dict) else {}
    geo = counts.get("inference_geo")
    billing = Billing(
        calls=calls if len(calls) > 1 else (),
        variant=_variant_of(counts),
        searches=parse_token_count(server_calls.get("web_search_requests")) or 0,
        is_us_only=geo == "us",
        unpriced=tuple(_find_unpriced(server_calls, geo)),
    )
    return add_tokens(tokens for _, tokens in calls), None if billing == _PLAIN else billing


def _parse_plain(counts: Json) -> TranscriptTokens | None:
    """The tokens of an ordinary reply; None where there is more to look at.

    A long session has tens of thousands of them, and hardly one of another kind.
    """
    get = counts.get
    read, written = get("cache_read_input_tokens"), get("cache_creation_input_tokens")
    five: list[Any] = [get("input_tokens"), read or 0, written or 0, 0, get("output_tokens")]
    split, tools = get("cache_creation"), get("server_tool_use")
    if split:
        hour = split.get("ephemeral_1h_input_tokens") if split.__class__ is dict else None
        short = split.get("ephemeral_5m_input_tokens") if split.__class__ is dict else None
        five[2:4] = short, hour
    for count in five:
        if count.__class__ is not int or not 0 <= count <= MAX_TOKENS:
            return None
    is_whole = five[2] + five[3] == (written or 0)
    is_ordinary = get("speed") in _ORDINARY and get("service_tier") in _ORDINARY
    is_near = get("inference_geo") in _ANYWHERE and _is_one_call(counts)
    is_toolless = not tools or (tools.__class__ is dict and not any(tools.values()))
    is_plain = is_whole and is_ordinary and is_near and is_toolless
    return TranscriptTokens(*five) if is_plain else None


def _is_one_call(counts: Json) -> bool:
    """Whether the iterations, if there are any, say no more than the counts beside them."""
    rows = counts.get("iterations")
    if not isinstance(rows, list) or not rows:
        return not rows
    first, *others = cast("list[Any]", rows)
    if others or first.__class__ is not dict or first.get("type") != "message":
        return False
    return not first.get("model") and all(first.get(one) == counts.get(one) for one in _COUNTS)


def add_tokens(counts: Iterable[TranscriptTokens]) -> TranscriptTokens:
    """The sum of counts, field by field."""
    return TranscriptTokens(*(sum(field) for field in zip(NO_TOKENS, *counts, strict=True)))


def as_usage(tokens: TranscriptTokens) -> Usage:
    """In the words of the core; Claude Code does not tell reasoning from other output."""
    return Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
    )


def _with_defaults(counts: Json) -> Json:
    """Counts that are missing are nothing in a transcript: 1.0 leaves some out."""
    if counts.get("input_tokens") is not None and counts.get("output_tokens") is not None:
        return counts
    return {
        **counts,
        "input_tokens": counts.get("input_tokens") or 0,
        "output_tokens": counts.get("output_tokens") or 0,
    }


def _as_tokens(usage: Usage) -> TranscriptTokens:
    return TranscriptTokens(
        input=usage.input_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write_5m=usage.cache_write_tokens - usage.cache_write_1h_tokens,
        cache_write_1h=usage.cache_write_1h_tokens,
        output=usage.completion_tokens,
    )


def _variant_of(counts: Json) -> str:
    speed, tier = counts.get("speed"), counts.get("service_tier")
    fast = "" if speed in _ORDINARY else f"-{speed}"
    return fast if tier in _ORDINARY else f"{fast}:{tier}"


def _find_unpriced(server_calls: Json, geo: object) -> Iterator[str]:
    for name, calls in server_calls.items():
        if name not in _FREE_TOOLS and parse_token_count(calls) != 0 and calls is not None:
            tool = name.removesuffix("_requests").replace("_", " ")
            yield f"with calls of {tool}, whose price is not known"
    if geo not in _ANYWHERE and geo != "us":
        yield f"made in {geo!r}, whose surcharge is not known"
