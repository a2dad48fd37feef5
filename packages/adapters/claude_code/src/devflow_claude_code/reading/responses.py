"""Which rows are one response: it is written once per content block, and copied by forks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from devflow_claude_code.reading.rows import TranscriptRow

ResponseKey = tuple[str, ...]
"""What names a response in every file that holds a copy of it."""


def unique_responses(rows: Iterable[TranscriptRow]) -> dict[ResponseKey, TranscriptRow]:
    """The row that counts of every response of one session, sub-agents included."""
    (found,) = responses_by_session([rows])
    return found


def responses_by_session(
    sessions: Iterable[Iterable[TranscriptRow]],
) -> list[dict[ResponseKey, TranscriptRow]]:
    """The responses of several sessions, under the same key where one is a copy of the other's.

    A response is written once per content block, again when a session is forked, and with fewer
    tokens while it streams: the row with most tokens counts, one of the main chain first.
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


class _Turns(NamedTuple):
    """How often a person has spoken so far, and a tool has answered."""

    prompts: int
    results: int


class _ResponseNamer:
    """Tells responses apart.

    The id of its message names a response; that of its request helps where a proxy gives every
    reply the same one. 1.0 copies rows without the request's id into a resumed session, under the
    same uuid. Where there are no request ids at all, a message that goes on after a person has
    spoken, or after a tool's result with a longer prompt, is another one.
    """

    def __init__(self, rows: Iterable[TranscriptRow]) -> None:
        self._requests: dict[str, set[str]] = {}
        for row in rows:
            if row.message_id and row.request_id:
                self._requests.setdefault(row.message_id, set()).add(row.request_id)
        self._by_row: dict[tuple[str, str | None], ResponseKey] = {}
        self.start_session()

    def start_session(self) -> None:
        """Rows of another session follow: what came before is not gone on with."""
        self._last: dict[tuple[str, bool], tuple[ResponseKey, TranscriptRow, _Turns]] = {}
        self._turns = {False: _Turns(0, 0), True: _Turns(0, 0)}

    def note_other(self, row: TranscriptRow) -> None:
        """A row that is no response: a person's, or a tool's result."""
        if row.type == "user" and not row.is_meta:
            turns = self._turns[row.is_sidechain]
            self._turns[row.is_sidechain] = (
                turns._replace(results=turns.results + 1)
                if row.tool_results
                else turns._replace(prompts=turns.prompts + 1)
            )

    def name(self, row: TranscriptRow) -> ResponseKey:
        """The response that a row is of."""
        message = row.message_id
        requests = self._requests.get(message, ()) if message else ()
        if message and len(requests) == 1:
            return (message, *requests)
        origin = row.forked_from[1] if row.forked_from and row.forked_from[1] else row.uuid
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
        if last is not None and _goes_on(last[1], last[2], row, turns):
            key = last[0]
        self._last[message, row.is_sidechain] = (key, row, turns)
        return key


def _goes_on(last: TranscriptRow, before: _Turns, row: TranscriptRow, turns: _Turns) -> bool:
    """Whether a row belongs to the response of the last one with its message id."""
    is_same_prompt = _prompt_tokens(last) == _prompt_tokens(row)
    return turns == before or (turns.prompts == before.prompts and is_same_prompt)


def _prompt_tokens(row: TranscriptRow) -> int:
    return sum(row.tokens[:4]) if row.tokens else 0


def _priority(row: TranscriptRow) -> tuple[bool, int, bool]:
    return not row.is_sidechain, sum(row.tokens or ()), row.model is not None
