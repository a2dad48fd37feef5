"""Parses a usage object of a transcript: its tokens, and what else decides the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from devflow_core.usage import MAX_TOKENS, Usage, parse_token_count
from devflow_core.wire.anthropic_messages.usage import decode_iterations

Json = dict[str, Any]

_ORDINARY = (None, "", "standard")
_ANYWHERE = (None, "", "global", "not_available")
_SEARCHES = "web_search_requests"
"""The only counted tool that is billed per call (Anthropic, "Pricing", read 2026-11)."""
_PRICED_TOOLS = (_SEARCHES, "web_fetch_requests", "tool_search_requests")
"""The counted tools whose price is known; all but web searches cost only the tokens they bring."""

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


class TranscriptTokens(NamedTuple):
    """The token counts of a reply or call, in Anthropic's categories; they do not overlap."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int


NO_TOKENS = TranscriptTokens(0, 0, 0, 0, 0)


class Billing(NamedTuple):
    """The facts that decide the cost of a usage object, beyond the tokens of one ordinary call."""

    calls: tuple[tuple[str | None, TranscriptTokens], ...] = ()
    """The calls that made the reply, if there were several: the advisor's model (None for the
    reply's own), and its tokens.
    """
    variant: str = ""
    """The suffix by which a catalogue marks speed and tier: `-fast`, `:batch`."""
    searches: int = 0
    """The number of web searches, which are billed per search."""
    is_us_only: bool = False
    """Whether Anthropic kept the call within the United States, at a higher price."""
    is_impossible: bool = False
    """Whether the token counts are impossible; they then count as zero."""
    unpriced: tuple[str, ...] = ()
    """Extras with an unknown price; each text continues "2 replies …"."""


_PLAIN = Billing()


def parse_usage(usage: object) -> tuple[TranscriptTokens | None, Billing | None]:
    """Return the tokens of a usage object (None without one) and its billing (None if ordinary).

    Impossible counts give zero tokens, and `Billing.is_impossible`.
    """
    if not isinstance(usage, dict):
        return None, None
    counts = cast("Json", usage)
    plain = _parse_plain(counts)
    if plain is not None:
        return plain, None
    # none means that the counts are impossible: negative, beyond all bounds, or not numbers
    iterations = decode_iterations(_with_defaults(counts))
    if not iterations:
        return NO_TOKENS, _PLAIN._replace(is_impossible=True)
    calls = tuple((one.model, as_tokens(one.usage)) for one in iterations)
    tools = counts.get("server_tool_use")
    server_calls = cast("Json", tools) if isinstance(tools, dict) else {}
    geo = counts.get("inference_geo")
    billing = Billing(
        calls=calls if len(calls) > 1 else (),
        variant=_variant_of(counts),
        searches=parse_token_count(server_calls.get(_SEARCHES)) or 0,
        is_us_only=geo == "us",
        unpriced=tuple(_find_unpriced(server_calls, geo)),
    )
    return add_tokens(tokens for _, tokens in calls), None if billing == _PLAIN else billing


def _parse_plain(counts: Json) -> TranscriptTokens | None:
    """Return the tokens of an ordinary reply; None if there is more to look at.

    This is the fast path: a long session has tens of thousands of ordinary replies, and few others.
    """
    get = counts.get
    read, written = get("cache_read_input_tokens"), get("cache_creation_input_tokens")
    # the order of the fields of TranscriptTokens
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
    """Return whether the iterations, if any, repeat the counts beside them."""
    rows = counts.get("iterations")
    if not isinstance(rows, list) or not rows:
        return not rows
    first, *others = cast("list[Any]", rows)
    if others or first.__class__ is not dict or first.get("type") != "message":
        return False
    return not first.get("model") and all(first.get(one) == counts.get(one) for one in _COUNTS)


def add_tokens(counts: Iterable[TranscriptTokens]) -> TranscriptTokens:
    """Return the sum of token counts, field by field; zeros for none."""
    plain = read = short = hour = output = 0
    for one in counts:  # `costs` does this hundreds of thousands of times; five sums take thrice it
        plain += one[0]
        read += one[1]
        short += one[2]
        hour += one[3]
        output += one[4]
    return TranscriptTokens(plain, read, short, hour, output)


def as_usage(tokens: TranscriptTokens) -> Usage:
    """Convert to the core's `Usage`; Claude Code does not separate reasoning from other output."""
    return Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
    )


def _with_defaults(counts: Json) -> Json:
    """Set missing counts to 0: transcripts of 1.0 leave some out."""
    if counts.get("input_tokens") is not None and counts.get("output_tokens") is not None:
        return counts
    return {
        **counts,
        "input_tokens": counts.get("input_tokens") or 0,
        "output_tokens": counts.get("output_tokens") or 0,
    }


def as_tokens(usage: Usage) -> TranscriptTokens:
    """Convert the core's `Usage`; reasoning counts as output."""
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
        if name not in _PRICED_TOOLS and parse_token_count(calls) != 0 and calls is not None:
            tool = name.removesuffix("_requests").replace("_", " ")
            yield f"with calls of {tool}, whose price is unknown"
    if geo not in _ANYWHERE and geo != "us":
        yield f"made in {geo!r}, whose surcharge is unknown"
