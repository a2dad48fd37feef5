"""SDKs hold whole conversations through the gateway, and show what the ledger and the bill say."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clients.matrix import AFTER_TOOLS, CALLS, SEEN, TEXT, Door, play, specification

OPENAI = {
    "unauthorized": ("AuthenticationError", 401),
    "over_budget": ("APIStatusError", 402),
    "forbidden": ("PermissionDeniedError", 403),
    "unknown_model": ("NotFoundError", 404),
    "rate_limited": ("RateLimitError", 429),
    "down": ("InternalServerError", 503),
    "cut": ("APIError", None),
}
"""What an error is read as, and its status; the status of a stream that is cut has come before."""
OPENAI_TS = OPENAI | {"over_budget": ("APIError", 402)}
ANTHROPIC = OPENAI | {
    "over_budget": ("PaymentRequiredError", 402),
    "down": ("ServiceUnavailableError", 503),
    "cut": ("APIStatusError", None),
}
ANTHROPIC_TS = ANTHROPIC | {"cut": ("APIError", None)}
LANGCHAIN_OPENAI = {
    "unauthorized": ("OpenAIAuthenticationError", 401),
    "over_budget": ("APIStatusError", 402),
    "forbidden": ("OpenAIPermissionDeniedError", 403),
    "unknown_model": ("OpenAIModelNotFoundError", 404),
    "rate_limited": ("OpenAIRateLimitError", 429),
    "down": ("OpenAIAPIError", 503),
    "cut": ("APIError", None),
}
LANGCHAIN_ANTHROPIC = {
    **{
        name: (kind.replace("OpenAI", "Anthropic"), status)
        for name, (kind, status) in LANGCHAIN_OPENAI.items()
    },
    "over_budget": ("PaymentRequiredError", 402),
    "cut": ("APIStatusError", None),
}
OPENROUTER = {
    "unauthorized": ("UnauthorizedResponseError", 401),
    "over_budget": ("PaymentRequiredResponseError", 402),
    "forbidden": ("ForbiddenResponseError", 403),
    "unknown_model": ("NotFoundResponseError", 404),
    "rate_limited": ("TooManyRequestsResponseError", 429),
    "down": ("ServiceUnavailableResponseError", 503),
    "cut": ("StreamError", None),
}
VERCEL = {name: ("APICallError", status) for name, (_, status) in OPENAI.items()} | {
    "cut": ("StreamProviderError", None)
}
PROGRAMS = {
    "openai_chat.py": ("openai", OPENAI),
    "openai_responses.py": ("openai", OPENAI),
    "openrouter_chat.py": ("openai", OPENROUTER),
    "openrouter_responses.py": ("openai", OPENROUTER),
    "langchain_openai_chat.py": ("openai", LANGCHAIN_OPENAI),
    "anthropic_messages.py": ("anthropic", ANTHROPIC),
    "langchain_anthropic_chat.py": ("anthropic", LANGCHAIN_ANTHROPIC),
    "openai_chat.mjs": ("openai", OPENAI_TS),
    "openai_responses.mjs": ("openai", OPENAI_TS),
    "openrouter_chat.mjs": ("openai", OPENROUTER),
    "anthropic_messages.mjs": ("anthropic", ANTHROPIC_TS),
    "vercel_compatible.mjs": ("openai", VERCEL),
    "vercel_responses.mjs": ("openai", VERCEL),
    "vercel_openrouter.mjs": ("openai", VERCEL),
    "vercel_anthropic.mjs": ("anthropic", VERCEL),
}
"""Whose models each asks, and what it makes of errors."""
ANSWERED = ("text", "stream", "image", "tools", "stream_tools")
KEEPS_NO_COST_OF_A_STREAM = {"langchain_openai_chat.py", "langchain_anthropic_chat.py"}
ENDS = {"stop", "end_turn"}

every_program = pytest.mark.parametrize(
    "program",
    # what a program has played is judged by several tests, in the worker that has played it
    [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in PROGRAMS],
)


@dataclass(frozen=True)
class Played:
    """What a program has written down, and from where on the bill is its own."""

    results: dict[str, Any]
    since: int
    until: int


Play = Callable[[str], Played]


_FREE, _PAUSE_S = 4, 4.0
"""The programs that may follow each other at once, and the pause before each later one.

Each sends a wrong key from the same address; a gateway answers ten of them at once and forgets
one in six seconds, and a program takes some seconds itself.
"""


@pytest.fixture(scope="session")
def play_once(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Plays a program when it is first asked for."""
    played: dict[str, Played] = {}

    def once(program: str) -> Played:
        if program not in played:
            if len(played) >= _FREE:
                time.sleep(_PAUSE_S)
            since = door.count_bill()
            folder: Path = tmp_path_factory.mktemp("program")
            results = play(program, specification(door, PROGRAMS[program][0]), folder)
            door.bill(since)  # a call that was left has an end, too
            played[program] = Played(results, since, door.count_bill())
        return played[program]

    return once


@every_program
def test_a_text_comes_as_it_was_written_whole_and_in_pieces(program: str, play_once: Play) -> None:
    results = play_once(program).results
    assert results["text"]["text"] == TEXT
    streamed = results["stream"]
    assert streamed["text"] == "".join(streamed["pieces"]) == TEXT
    assert len([piece for piece in streamed["pieces"] if piece]) > 3
    assert streamed.get("role", "assistant") == "assistant"
    assert streamed.get("finish", "stop") in ENDS


@every_program
def test_an_image_arrives(program: str, play_once: Play, door: Door) -> None:
    played = play_once(program)
    assert played.results["image"]["text"] == SEEN
    text, _, image = door.bill(played.since)[:3]
    assert image["prompt_tokens"] > 2 * text["prompt_tokens"]


@every_program
@pytest.mark.parametrize("way", ["tools", "stream_tools"])
def test_parallel_calls_come_whole_and_their_results_go_back(
    program: str, way: str, play_once: Play
) -> None:
    result = play_once(program).results[way]
    assert result["calls"] == CALLS, result
    assert result["text"] == AFTER_TOOLS


@every_program
def test_each_error_is_read_as_what_it_is(program: str, play_once: Play) -> None:
    results = play_once(program).results
    for name, (kind, status) in PROGRAMS[program][1].items():
        result = results[name]
        assert (name, result.get("raised")) == (name, kind), result
        assert status is None or result["status"] == status, result
        assert result["message"]


@every_program
def test_leaving_ends_the_call_at_the_provider(program: str, play_once: Play, door: Door) -> None:
    played = play_once(program)
    assert played.results["leave"] == {}
    last = door.bill(played.since, played.until)[-1]
    assert last["outcome"] == "cancelled"


@every_program
def test_the_cost_shown_is_the_ledgers_and_the_bills(
    program: str, play_once: Play, door: Door
) -> None:
    played = play_once(program)
    bill = door.bill(played.since, played.until)
    billed = {call["generation_id"]: Decimal(call["cost_usd"]) for call in bill}
    assert door.ledger(played.since, played.until) == billed
    shown = [usd for name in ANSWERED for usd in played.results[name]["costs"]]
    expected = [Decimal(call["cost_usd"]) for call in bill if call["outcome"] == "completed"]
    assert len(shown) == len(expected) == 7
    for usd, cost in zip(shown, expected, strict=True):
        assert usd is None or Decimal(str(usd)) == cost
    if program not in KEEPS_NO_COST_OF_A_STREAM:
        assert None not in shown
