"""Obeys plain instructions as a model would: words to repeat, numbers to count, places to stop.

A check of a gateway asks for words that stand in every part of the request, such as a code word in
the system prompt and one in each tool result. An invented text would contain none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import Block
from devflow_sandbox.replies.reply import GeneratedReply

MAX_COUNT = 1000
"""The number at which counting ends, whatever the question says."""
_EXACTLY = re.compile(
    r"\b(?:reply|respond|answer|say)\b(?: with)?(?: exactly| only| just){1,2}:?\s+"
    r"[\"'`]?(.+?)[\"'`]?[.]?\s*$",
    re.IGNORECASE,
)
_WORDS_ARE_ASKED = re.compile(r"\b(?:list|repeat) every code word\b", re.IGNORECASE)
_WORD = re.compile(r"\bcode word(?: of [\w ]{1,40})? is ([A-Z0-9-]{4,24})\b")
_COUNT = re.compile(r"\bcount from 1 to (\d{1,4})\b", re.IGNORECASE)


def obey(question: str, blocks: Iterable[Block]) -> str | None:
    """Return the reply that the question demands; None if it demands no particular one.

    Args:
        question: the last text of the user.
        blocks: the whole prompt, which may contain code words.
    """
    if _WORDS_ARE_ASKED.search(question):
        words = [word for block in blocks for word in _WORD.findall(block.text)]
        return " ".join(dict.fromkeys(words)) or "None."
    count = _COUNT.search(question)
    if count is not None:
        return "\n".join(str(number) for number in range(1, min(int(count[1]), MAX_COUNT) + 1))
    exactly = _EXACTLY.search(question[-400:])
    return None if exactly is None else exactly.group(1)


def stop_at(reply: GeneratedReply, body: JsonObject) -> GeneratedReply:
    """Return the reply cut before the first stop sequence in its text, and then without calls.

    Without a stop sequence in the text, the reply is returned as it is.
    """
    given: object = body.get("stop_sequences") or body.get("stop") or []
    several = cast("list[object]", given) if isinstance(given, list) else [given]
    stops = [one for one in several if isinstance(one, str)]
    text = reply.text or ""
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return reply
    place, stop = min(found)
    return replace(reply, text=text[:place], calls=(), stop_sequence=stop)
