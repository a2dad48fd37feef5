"""Whatever a caller or a provider sends is decoded, or raises an error of ours."""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from devflow_core.errors import DevFlowError, InvalidRequest
from devflow_core.events import Event
from devflow_core.response import ChatResponse
from devflow_core.tokens import estimate_input_tokens
from devflow_core.wire import Dialect, SseReader, parse_body
from devflow_core.wire.table import DIALECTS
from dialect_samples import samples_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Collect = Callable[[Sequence[Event]], ChatResponse]

_STRANGE: list[Any] = (
    [None, True, 0, -1, 1.5, 2**62, "", "x", "text", "\x00", [], ["x"], [None], {}, {"type": "x"},
     [{}], {"type": "text"}, {"index": "x"}, "data:;base64,", "devflow1.", "devflow1.e30=",
     "devflow1.W10=", "devflow1.eyJkIjoxLCJzIjoxfQ=="]
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of a JSON value and of all values inside it."""
    if isinstance(value, dict):
        inner = list(cast("dict[str, Any]", value).items())
    elif isinstance(value, list):
        inner = list(enumerate(cast("list[Any]", value)))
    else:
        return [path]
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _replaced(value: dict[str, Any], changes: list[tuple[int, Any]]) -> dict[str, Any]:
    """Return a copy with the values at some places, chosen by number, replaced."""
    changed = copy.deepcopy(value)
    for number, new in changes:
        places = _places(changed)[1:]
        if not places:
            break
        *way, last = places[number % len(places)]
        owner: Any = changed
        for key in way:
            owner = owner[key]
        owner[last] = copy.deepcopy(new)
    return changed


_VALUES = st.sampled_from(_STRANGE)
_CHANGES = st.lists(st.tuples(st.integers(0, 5000), _VALUES), min_size=1, max_size=4)


@pytest.fixture(params=sorted(DIALECTS))
def wire(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


_FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_FUZZ
@given(_CHANGES)
def test_a_request_is_understood_or_refused(wire: Dialect, changes: list[tuple[int, Any]]) -> None:
    body = _replaced(samples_of(wire.name).body, changes)
    try:
        request = wire.decode_request(parse_body(json.dumps(body).encode()), {})
    except InvalidRequest:
        return
    assert estimate_input_tokens(request) >= 1
    for variant in (request, request.with_messages(request.messages)):
        for target in DIALECTS.values():
            for model in ("anthropic/x", "google/x"):
                try:
                    encoded = target.encode_request(variant, model)
                except InvalidRequest:
                    continue
                assert json.loads(encoded.body)["model"] == model
                wire.make_encoder(variant)


@_FUZZ
@given(_CHANGES)
def test_a_stream_gives_events_or_an_error_of_ours(
    wire: Dialect, changes: list[tuple[int, Any]]
) -> None:
    events = _replaced({"events": samples_of(wire.name).events}, changes)["events"]
    encoders = [target.make_encoder(wire.decode_request(samples_of(wire.name).body, {}))
                for target in DIALECTS.values()]  # fmt: skip
    decoder = wire.make_decoder("a/b")
    if not isinstance(events, list):
        return
    stream = b"".join(
        b"data: %b\n\n" % json.dumps(one).encode() for one in cast("list[Any]", events)
    )
    try:
        for frame in SseReader().feed(stream):
            for event in decoder.feed(frame):
                for encoder in encoders:
                    encoder.encode(event)
        decoder.close()
    except DevFlowError:
        pass


@_FUZZ
@given(_CHANGES)
def test_a_whole_reply_is_read_or_an_error_of_ours(
    wire: Dialect, fold: Collect, changes: list[tuple[int, Any]]
) -> None:
    body = json.dumps(_replaced(samples_of(wire.name).whole, changes)).encode()
    try:
        response = fold(wire.decode_response(body, "a/b"))
    except DevFlowError:
        return
    request = wire.decode_request(samples_of(wire.name).body, {})
    for target in DIALECTS.values():
        assert json.loads(target.encode_response(response, request))
