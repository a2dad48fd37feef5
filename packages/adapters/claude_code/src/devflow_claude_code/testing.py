"""Builds sessions for tests and benchmarks: row by row, or long ones with planted facts."""

from __future__ import annotations

import json
import random
from typing import Any

from devflow_core.tokens import estimate_tokens

_FILLER = "The quick brown fox jumps over the lazy dog while nobody looks at it at all. "


class TranscriptScript:
    """Builds the rows of a session one by one, as Claude Code 2.1 writes them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._calls = 0

    @property
    def tokens(self) -> int:
        """The estimated tokens of the conversation as sent to a model."""
        contents = (row["message"]["content"] for row in self.rows if "message" in row)
        return estimate_tokens("".join(json.dumps(one) for one in contents))

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Add a row of any type, as the child of the row before, and return it.

        Args:
            kind: the row's `type`.
            fields: added to the usual fields, or replacing them.
        """
        number = len(self.rows) + 1
        row: dict[str, Any] = {
            "type": kind,
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "parentUuid": self.rows[-1]["uuid"] if self.rows else None,
            "isSidechain": False,
            "timestamp": f"2026-11-21T{number // 3600:02d}:{number // 60 % 60:02d}"
            f":{number % 60:02d}.000Z",
            "sessionId": "11111111-2222-4333-8444-555555555555",
            "version": "2.1.329",
            "cwd": "/home/dev/demo",
            "gitBranch": "main",
            **fields,
        }
        self.rows.append(row)
        return row

    def prompt(self, text: str, **fields: Any) -> dict[str, Any]:
        """Add a prompt typed by a person, and return its row; `fields` are the row's."""
        return self.add("user", message={"role": "user", "content": text}, **fields)

    def say(self, *content: dict[str, Any] | str, **message: Any) -> dict[str, Any]:
        """Add a reply made of texts and other blocks, and return its row.

        `message` sets fields of the message, such as `usage`.
        """
        blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
        return self.add(
            "assistant",
            message={
                "id": f"msg_{len(self.rows)}",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-5-5",
                "content": blocks,
                **message,
            },
        )

    def call(
        self,
        name: str,
        arguments: dict[str, Any],
        result: Any,
        *,
        is_error: bool = False,
        **row: Any,
    ) -> dict[str, Any]:
        """Add a tool call and its result, and return the result's row; `row` sets its fields."""
        self._calls += 1
        call_id = f"toolu_{self._calls}"
        self.say({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
        block = {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": result,
            "is_error": is_error,
        }
        return self.add("user", message={"role": "user", "content": [block]}, **row)


def build_planted_session(seed: int, turns: int) -> tuple[TranscriptScript, tuple[str, ...]]:
    """Return a long session, and the 20 facts planted where real work leaves them.

    They are in prompts, decisions, findings, todo items, written files, failing commands and an
    open question; most of the session is file reads and searches without any of them.

    Args:
        seed: different seeds give different sessions.
        turns: at least 21; each reads a file and searches.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    facts = tuple(f"fact-{chance.getrandbits(40):010x}" for _ in range(20))
    script = TranscriptScript()
    script.prompt(f"Make the importer faster; the ticket is {facts[0]}. {_FILLER}")
    places = sorted(chance.sample(range(2, turns - 1), 18))
    todos: list[str] = []
    for turn in range(turns):
        _read_and_search(script, turn)
        if turn in places:
            number = places.index(turn)
            _plant(script, number, facts[number + 1], todos)
    script.say(f"Half of it is done. Shall I also remove {facts[19]}?")
    return script, facts


def _read_and_search(script: TranscriptScript, turn: int) -> None:
    path = f"/home/dev/demo/m{turn % 23}.py"
    content = _FILLER * 12
    file = {"filePath": path, "content": content, "startLine": 1, "numLines": 1, "totalLines": 1}
    script.call("Read", {"file_path": path}, content, toolUseResult={"file": file})
    script.call("Grep", {"pattern": f"x{turn}"}, _FILLER * 8)


def _plant(script: TranscriptScript, number: int, fact: str, todos: list[str]) -> None:
    match number % 6:
        case 0:
            script.say(f"Decision: I will use {fact} instead of the old cache. {_FILLER}")
        case 1:
            script.call("Bash", {"command": f"pytest -k {number}"}, f"E {fact}", is_error=True)
        case 2:
            script.prompt(f"One more thing: never touch {fact}.")
        case 3:
            content = f"VALUE = '{fact}'\n{_FILLER * 5}"
            arguments = {"file_path": f"/home/dev/demo/new{number}.py", "content": content}
            script.call("Write", arguments, "ok", toolUseResult={"content": content})
        case 4:
            script.say(f"I found that {fact} is called twice per row. {_FILLER}")
        case _:
            todos.append(fact)
            items = [{"content": f"Handle {one}", "status": "pending"} for one in todos]
            script.call("TodoWrite", {"todos": items}, "ok")
