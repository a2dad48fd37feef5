"""Makes requests as people send them: another text each time, short questions and agents' work.

A text holds a mark that the load replaces by a number which no other round has, so that no cache of
a whole text can help, while what a conversation repeats of itself stays the same.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from load import NUMBER_MARK, encode_post

DATA = Path(__file__).parent / "data" / "routing" / "measured_requests.txt"
TOOLS = ("Read", "Edit", "Write", "Bash", "Grep", "Glob", "WebFetch", "Task", "TodoWrite", "Ls")
QUESTION_BYTES = 1_000
"""A request of up to this size is one question; a larger one is an agent's conversation."""
MESSAGES = "/messages"
CHAT = "/chat/completions"
_TURN_BYTES = 3_500
"""What a tool's result in an agent's conversation holds: a page of a file."""


@functools.cache
def read_texts() -> tuple[str, ...]:
    """Return requests in four languages, of all kinds and lengths, and their paraphrases."""
    lines = DATA.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return tuple(text.replace("\\n", "\n") for row in rows for text in row[3:5])


def iter_prompts(seed: int) -> Iterator[str]:
    """Yield texts without end, each another one: a request with a number of its own."""
    texts = read_texts()
    for number in itertools.count(seed):
        yield f"{texts[number % len(texts)]}\n(ticket {number})"


def make_requests(
    path: str,
    model: str,
    *,
    size_bytes: int = QUESTION_BYTES,
    headers: Mapping[str, str],
    **fields: Any,
) -> list[bytes]:
    """Return whole requests over HTTP for `Load`, each with another text.

    Args:
        path: the route; its end says which dialect it speaks.
        model: the model asked.
        size_bytes: about how large a body is.
        headers: what the gateway wants, besides what an SDK sends.
        fields: more of the body, such as `stream`.
    """
    texts = read_texts()
    count = len(texts) if size_bytes <= QUESTION_BYTES else 8
    return [
        _encode(path, {"model": model, **_ask(texts, number, size_bytes), **fields}, headers)
        for number in range(count)
    ]


def _ask(texts: Sequence[str], number: int, size_bytes: int) -> dict[str, Any]:
    text = f"{texts[number % len(texts)]}\n(ticket {NUMBER_MARK.decode()}-{number})"
    if size_bytes <= QUESTION_BYTES:
        return {"messages": [{"role": "user", "content": text}], "max_tokens": 256}
    return {"max_tokens": 4096, "messages": make_conversation(text, size_bytes, number)}


def make_conversation(text: str, size_bytes: int, seed: int) -> list[dict[str, Any]]:
    """Return an agent's conversation of about this size: a task, and turn by turn what it read."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    words = sorted({word for one in read_texts() for word in one.split()})
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    size = len(text)
    while size < size_bytes:
        page = " ".join(chance.choices(words, k=500))[: min(_TURN_BYTES, size_bytes - size)]
        said = f"Next I call {chance.choice(TOOLS)} on src/module_{len(messages)}.py."
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": page}]
        size += len(page.encode()) + len(said) + 80
    return messages


def _encode(path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    version = {"anthropic-version": "2023-06-01"} if path.endswith(MESSAGES) else {}
    return encode_post(path, orjson.dumps(body), {**version, **headers})
