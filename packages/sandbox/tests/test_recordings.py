"""Every recorded exchange with OpenRouter replayed: the same request gets the same shape.

What may differ is in `samples/accepted_differences.json`, each rule with its reason; a rule that
nothing needs any more fails the test as well.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from devflow_sandbox import Sandbox

SAMPLES = Path(__file__).parent / "samples"
Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recording:
    number: int
    path: str
    status: int
    request: Object
    body: str

    @property
    def is_stream(self) -> bool:
        return self.request.get("stream") is True

    @property
    def is_whole(self) -> bool:
        """Neither the request nor the reply was shortened when it was stored."""
        return not self.body.rstrip().endswith("<cut>") and "…<cut>" not in self.body[-10:]


def recordings() -> list[Recording]:
    """All whose request was stored as JSON."""
    stored: list[Recording] = []
    lines = gzip.decompress((SAMPLES / "wire.jsonl.gz").read_bytes()).decode().strip().split("\n")
    for number, line in enumerate(lines):
        row = json.loads(line)
        if not isinstance(row["request"], dict):
            continue
        body = row["body"] if isinstance(row["body"], str) else json.dumps(row["body"])
        stored.append(
            Recording(
                number=number,
                path=row["path"].removeprefix("/api/v1/"),
                status=row["status"],
                request=row["request"],
                body=body,
            )
        )
    return stored


def events(text: str) -> list[Object]:
    """The JSON of every event; the end as `{"kind": "[DONE]"}`."""
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [{"kind": line} if line == "[DONE]" else json.loads(line) for line in lines]


def shape(value: object, at: str = "") -> set[str]:
    """Every field with its type, like `choices[].index:number`."""
    if isinstance(value, dict):
        inner = cast(Object, value).items()
        return {f"{at}:object"}.union(*(shape(one, f"{at}.{name}") for name, one in inner))
    if isinstance(value, list):
        items = cast("list[object]", value)
        return {f"{at}:array"}.union(*(shape(one, f"{at}[]") for one in items))
    if value is None:
        return {f"{at}:null"}
    kind = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    return {f"{at}:{kind}"}


def kinds(text: str) -> list[str]:
    """What a stream is made of, in order, with runs of the same thing told once."""
    found: list[str] = []
    for one in _kinds(text):
        if not found or found[-1] != one:
            found.append(one)
    return found


def _kinds(text: str) -> Iterator[str]:
    for event in events(text):
        if "kind" in event or "type" in event:
            yield event.get("kind") or event["type"]
        elif "usage" in event:
            yield "usage"
        else:
            choice = event["choices"][0]
            yield "finish" if choice["finish_reason"] else _delta_kind(choice["delta"])


def _delta_kind(delta: Object) -> str:
    for name in ("tool_calls", "annotations", "reasoning_details"):
        if delta.get(name):
            return name
    return "content" if delta.get("content") else "nothing"


def recorded_turn(recording: Recording) -> Object:
    """The recorded reply as a turn of a script, so that the sandbox says the same."""
    if recording.path == "responses":
        return _turn_of_response(recording)
    if not recording.is_stream:
        choice = json.loads(recording.body)["choices"][0]
        return _turn(choice["message"], choice["finish_reason"])
    message: Object = {"content": "", "reasoning": "", "tool_calls": []}
    finish = "stop"
    for event in events(recording.body):
        choices: list[Object] = event.get("choices") or []
        for choice in choices:
            finish = choice["finish_reason"] or finish
            _fold(message, choice["delta"])
    return _turn(message, finish)


def _fold(message: Object, delta: Object) -> None:
    message["content"] += delta.get("content") or ""
    message["reasoning"] += delta.get("reasoning") or ""
    calls: list[Object] = delta.get("tool_calls") or []
    for call in calls:
        if "id" in call:
            message["tool_calls"].append({"function": dict(call["function"])})
        else:
            message["tool_calls"][-1]["function"]["arguments"] += call["function"]["arguments"]


def _turn(message: Object, finish: str) -> Object:
    turn: Object = {"text": message["content"], "finish_reason": finish}
    if message.get("reasoning"):
        turn["reasoning"] = message["reasoning"]
    if message.get("tool_calls"):
        functions = [one["function"] for one in message["tool_calls"]]
        turn["tool_calls"] = [
            {"name": one["name"], "arguments": one.get("arguments", "")} for one in functions
        ]
    return turn


def _turn_of_response(recording: Recording) -> Object:
    response = json.loads(recording.body) if not recording.is_stream else None
    if response is None:
        response = events(recording.body)[-2]["response"]
    turn: Object = {}
    for item in response["output"]:
        text = "".join(part["text"] for part in item["content"])
        turn["reasoning" if item["type"] == "reasoning" else "text"] = text
    return turn


Client = Callable[..., httpx.AsyncClient]
RECORDINGS = {one.number: one for one in recordings()}
ACCEPTED: list[dict[str, Any]] = json.loads((SAMPLES / "accepted_differences.json").read_text())
CONVERSATIONS = [
    one.number
    for one in RECORDINGS.values()
    if one.path in ("chat/completions", "responses") and one.status == 200 and one.is_whole
]
OTHERS = [
    one.number
    for one in RECORDINGS.values()
    if one.number not in CONVERSATIONS and one.status == 200 and one.is_whole
]
"""Embeddings, rerank, speech."""
ERRORS = {
    10: {"kind": "status", "preset": "rate_limited"},
    11: {"kind": "status", "preset": "rate_limited"},
    12: {"kind": "status", "preset": "rate_limited"},
    75: None,
}


def missing_rows(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for models that were recorded but are not in the catalogue of 2026-08-16."""
    catalogue = Sandbox().state.catalogue
    known = catalogue.get("anthropic/claude-haiku-4.5")
    assert known is not None
    names = [name for name in (request.get("model"), *(request.get("models") or ())) if name]
    return [
        {**known.row, "id": name, "canonical_slug": name}
        for name in names
        if catalogue.find(name)[0] is None
    ]


async def replayed(client: Client, recording: Recording, **more: Any) -> httpx.Response:
    sandbox = Sandbox(models=missing_rows(recording.request), **more)
    async with client(sandbox) as http:
        return await http.post(recording.path, json=recording.request)


def created(recording: Recording) -> str:
    """The month of a recording."""
    if recording.is_stream:
        body = events(recording.body)[0]
        body = body.get("response", body)
    else:
        body = json.loads(recording.body)
    at = body.get("created") or body.get("created_at") or int(body["id"].split("-")[-2])
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def accepted(recording: Recording, way: str, what: str) -> int | None:
    """The number of the rule that accepts a difference."""
    month = created(recording)
    for number, rule in enumerate(ACCEPTED):
        if (
            rule["way"] == way
            and any(fnmatchcase(what, pattern) for pattern in rule["what"])
            and recording.number in rule.get("recordings", [recording.number])
            and month < rule.get("before", "9999")
        ):
            return number
    return None


def plain(what: str) -> str:
    """A field without brackets, which mean something to a pattern."""
    return what.replace("[]", "")


def differences(recording: Recording, replayed: str) -> list[tuple[str, str]]:
    """Each as (way, what): a field that is missing or extra, or another order of events."""
    if recording.is_stream:
        theirs = set[str]().union(*(shape(one) for one in events(recording.body)))
        ours = set[str]().union(*(shape(one) for one in events(replayed)))
    else:
        theirs, ours = shape(json.loads(recording.body)), shape(json.loads(replayed))
    found = [("missing", plain(one)) for one in theirs - ours]
    found += [("extra", plain(one)) for one in ours - theirs]
    if recording.is_stream and kinds(recording.body) != kinds(replayed):
        found.append(("order", " ".join(kinds(recording.body))))
    return sorted(found)


async def compared(client: Client, number: int) -> list[tuple[str, str]]:
    recording = RECORDINGS[number]
    script = None
    if number in CONVERSATIONS:
        script = {"turns": [{"reply": recorded_turn(recording)}]}
    reply = await replayed(client, recording, script=script)
    assert reply.status_code == 200, reply.text
    return differences(recording, reply.text)


@pytest.mark.parametrize("number", [*CONVERSATIONS, *OTHERS])
async def test_replayed_exchange_has_the_recorded_shape(client: Client, number: int) -> None:
    if RECORDINGS[number].path == "audio/speech":
        reply = await replayed(client, RECORDINGS[number])
        assert (reply.headers["content-type"], len(reply.content) > 0) == ("audio/mpeg", True)
        return
    different = await compared(client, number)
    unexplained = [one for one in different if accepted(RECORDINGS[number], *one) is None]
    assert unexplained == []


async def test_every_accepted_difference_is_still_there(client: Client) -> None:
    needed: set[int | None] = set()
    for number in (*CONVERSATIONS, *OTHERS):
        if RECORDINGS[number].path != "audio/speech":
            different = await compared(client, number)
            needed |= {accepted(RECORDINGS[number], *one) for one in different}
    unused = [rule for number, rule in enumerate(ACCEPTED) if number not in needed]
    assert unused == []
    assert all(rule["why"] for rule in ACCEPTED)


@pytest.mark.parametrize(("number", "fault"), ERRORS.items())
async def test_recorded_errors_have_the_recorded_shape(
    client: Client, number: int, fault: dict[str, Any] | None
) -> None:
    recording = RECORDINGS[number]
    sandbox = Sandbox(
        models=missing_rows(recording.request),
        faults=None if fault is None else {"faults": [{"then": fault}]},
    )
    async with client(sandbox) as http:
        if fault is None:
            del http.headers["authorization"]
        reply = await http.post(recording.path, json=recording.request)
    assert reply.status_code == recording.status
    assert shape(json.loads(recording.body)) <= shape(reply.json())
    theirs = json.loads(recording.body)["error"]
    assert reply.json()["error"]["message"] == theirs["message"]


def test_no_recording_is_forgotten() -> None:
    """What is not replayed: shortened when it was stored, or the request was."""
    left = set(range(155)) - {*CONVERSATIONS, *OTHERS, *ERRORS}
    assert {number for number in left if number in RECORDINGS} == {113, 137, 145, 146, 149}
