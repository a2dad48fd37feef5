"""Provides recorded exchanges, and what the tests of every dialect do with a stream."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from devflow_core.events import Event
from devflow_core.response import ChatResponse, Collector
from devflow_core.wire import EventDecoder, SseReader

SAMPLES = Path(__file__).parent / "samples"

Decode = Callable[..., list[Event]]


@pytest.fixture(scope="session")
def recordings() -> list[dict[str, Any]]:
    """Return recorded exchanges with OpenRouter: `source`, `path`, `status`, `request`, `body`."""
    lines = (SAMPLES / "openrouter.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def decode_stream() -> Decode:
    """Return a function that decodes a stream, which arrives in pieces cut at the given places."""

    def decode(decoder: EventDecoder, stream: bytes, cuts: Sequence[int] = ()) -> list[Event]:
        reader = SseReader()
        edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        events: list[Event] = []
        for start, end in pairwise(edges):
            for frame in reader.feed(stream[start:end]):
                events.extend(decoder.feed(frame))
        for frame in reader.close():
            events.extend(decoder.feed(frame))
        return [*events, *decoder.close()]

    return decode


@pytest.fixture(scope="session")
def claude_requests() -> dict[str, dict[str, Any]]:
    """Return requests that Claude Code sent, by name: `headers` (lower-case names) and `body`."""
    requests: dict[str, dict[str, Any]] = {}
    for path in sorted((SAMPLES / "claude_code").glob("*.json")):
        one = json.loads(path.read_bytes())
        headers = {name.lower(): value for name, value in one["headers"]}
        requests[path.stem] = {"headers": headers, "body": one["body"]}
    return requests


Collect = Callable[[Sequence[Event]], ChatResponse]


@pytest.fixture(scope="session")
def fold() -> Collect:
    """Return a function that collects events into the reply that they add up to."""

    def collect(events: Sequence[Event]) -> ChatResponse:
        collector = Collector()
        for event in events:
            collector.add(event)
        return collector.to_response()

    return collect
