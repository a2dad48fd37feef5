"""Identifies responses across rows: one is written per content block, and copied by forks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from devflow_claude_code.reading.rows import TranscriptRow

ResponseKey = tuple[str, ...]
"""Identifies a response in every file that holds a copy of it."""


def unique_responses(rows: Iterable[TranscriptRow]) -> dict[ResponseKey, TranscriptRow]:
    """Return one row for each response in a session's rows, chosen as in `responses_by_session`.

    The caller passes the rows of sub-agents, too.
    """
    (found,) = responses_by_session([rows])
    return found


def responses_by_session(
    sessions: Iterable[Iterable[TranscriptRow]],
) -> list[dict[ResponseKey, TranscriptRow]]:
    """Return the row that counts for each response, session by session in the order given.

    A copied response has the same key in all of them. A response is written once per content block,
    again when a session is forked, and with fewer tokens while it streams. The row with the most
    tokens counts; rows of the main chain come first.
    """
    every = [list(rows) for rows in sessions]
    namer = _ResponseNamer(row for rows in every for row in rows)
    found: list[dict[ResponseKey, TranscriptRow]] = []
    for rows in every:
        best: dict[ResponseKey, TranscriptRow] = {}
        namer.start_session()
        for row in rows:
            if row.tokens is None:
                namer.note_other(row)
                continue
            key = namer.name(row)
            known = best.get(key)
            if known is None or _priority(row) > _priority(known):
                best[key] = row
        found.append(best)
    return found


def condense(rows: Iterable[TranscriptRow]) -> tuple[TranscriptRow, ...]:
    """Return the few rows of a session that `responses_by_session` needs, in their order.

    A reply with both of its ids is one row. A reply without a request id keeps all its rows, and
    the prompts and results that tell it from the next one.
    """
    every = [row for row in rows if row.tokens is not None or _is_turn(row)]
    needs_turns = any(row.tokens is not None and not row.request_id for row in every)
    best: dict[tuple[str, str], TranscriptRow] = {}
    for row in every:
        if row.tokens is not None and row.message_id and row.request_id:
            known = best.get(key := (row.message_id, row.request_id))
            if known is None or _priority(row) > _priority(known):
                best[key] = row
    kept = set(map(id, best.values()))
    return tuple(
        row
        for row in every
        if id(row) in kept
        or (needs_turns if row.tokens is None else not (row.message_id and row.request_id))
    )


def _is_turn(row: TranscriptRow) -> bool:
    return row.type == "user" and not row.is_meta


class _Turns(NamedTuple):
    """The number of prompts and of tool results seen so far."""

    prompts: int
    results: int


class _ResponseNamer:
    """Gives every response a key.

    Usually the message id identifies a response, and the request id helps if a proxy gives every
    reply the same message id. 1.0 copies rows into a resumed session without the request id, but
    with their uuid. Without any request ids, a message id that appears again after a prompt, or
    after a tool result with a longer prompt, is another response.
    """

    def __init__(self, rows: Iterable[TranscriptRow]) -> None:
        self._requests: dict[str, set[str]] = {}
        for row in rows:
            if row.message_id and row.request_id:
                self._requests.setdefault(row.message_id, set()).add(row.request_id)
        self._by_row: dict[tuple[str, str | None], ResponseKey] = {}
        self.start_session()

    def start_session(self) -> None:
        """Start another session: its rows do not continue those before."""
        self._last: dict[tuple[str, bool], tuple[ResponseKey, TranscriptRow, _Turns]] = {}
        self._turns = {False: _Turns(0, 0), True: _Turns(0, 0)}

    def note_other(self, row: TranscriptRow) -> None:
        """Record a row that is not a response: a prompt, or a tool's result."""
        if _is_turn(row):
            turns = self._turns[row.is_sidechain]
            self._turns[row.is_sidechain] = (
                turns._replace(results=turns.results + 1)
                if row.tool_results
                else turns._replace(prompts=turns.prompts + 1)
            )

    def name(self, row: TranscriptRow) -> ResponseKey:
        """Return the key of the response that a row belongs to."""
        message = row.message_id
        requests = self._requests.get(message, ()) if message else ()
        # the usual case: one request, so message and request id are both sure
        if message and len(requests) == 1:
            return (message, *requests)
        origin = row.forked_from[1] if row.forked_from and row.forked_from[1] else row.uuid
        # a copied row has the key of its original, by uuid
        known = self._by_row.get((origin, message)) if origin else None
        if known is not None:
            return known
        key = self._find_key(row, origin or f"line {row.line}")
        if origin:
            self._by_row[origin, message] = key
        return key

    def _find_key(self, row: TranscriptRow, origin: str) -> ResponseKey:
        if row.message_id is None:
            return (origin,)
        if row.request_id:
            return (row.message_id, row.request_id)
        return self._find_run(row, row.message_id, origin)

    def _find_run(self, row: TranscriptRow, message: str, origin: str) -> ResponseKey:
        turns = self._turns[row.is_sidechain]
        last = self._last.get((message, row.is_sidechain))
        key: ResponseKey = (message, "", origin)
        if last is not None and _continues(last[1], last[2], row, turns):
            key = last[0]
        self._last[message, row.is_sidechain] = (key, row, turns)
        return key


def _continues(last: TranscriptRow, before: _Turns, row: TranscriptRow, turns: _Turns) -> bool:
    """Return whether a row continues the last response with its message id."""
    is_same_prompt = _prompt_tokens(last) == _prompt_tokens(row)
    return turns == before or (turns.prompts == before.prompts and is_same_prompt)


def _prompt_tokens(row: TranscriptRow) -> int:
    return sum(row.tokens[:4]) if row.tokens else 0


def _priority(row: TranscriptRow) -> tuple[bool, int, bool]:
    # main chain first, then the most tokens, since a reply grows while it streams; last, a named
    # model
    return not row.is_sidechain, sum(row.tokens or ()), row.model is not None
