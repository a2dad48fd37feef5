import json
from typing import cast

import pytest
from devflow_core.errors import InvalidRequest, ProtocolError
from devflow_core.safe_text import excerpt
from devflow_core.wire import body as wire_body
from devflow_core.wire import parse_body
from devflow_core.wire.body import load_event, load_frame
from devflow_core.wire.sse import SseFrame, encode
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"x"', b"null", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}", b'{"a":1}{', b'{"a":' + b"9" * 5000 + b"}", b"[" * 200_000,
        b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_sound_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_body(body)


def test_64_levels_are_taken() -> None:
    assert parse_body(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[],"model":"b"}',
        b'{"model" : "a", "x": {"model":"c"}, "model":null}',
        b'{"model":"a","model":"a"}',
    ],
)
def test_a_model_named_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="model: the key stands twice"):
        parse_body(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":{"model":"b"},"y":[{"model":"c"}]}',
        b'{"model":"a","properties":{"model":{"type":"string"}}}',
        b'{"model":"a","text":"\\"model\\":\\"b\\", \\"model\\":1"}',
        b'{"a":"model","b":"model"}',
    ],
)
def test_a_model_named_elsewhere_too_is_no_ambiguity(body: bytes) -> None:
    assert parse_body(body) == json.loads(body)


def test_the_reason_holds_no_text_of_the_body() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_body(b'{"secret words": nonsense}')
    assert "secret" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _JSON))
def test_sound_objects_are_read_as_they_are(body: dict[str, object]) -> None:
    assert parse_body(json.dumps(body).encode()) == body


def test_an_excerpt_is_one_short_line_without_markup() -> None:
    html = b"<html><style>p{}</style><script>x()</script><h1>502\r\n\x1b[31mBad</h1>" + b"y" * 900
    text = excerpt(html)
    assert text.startswith("502 [31mBad yyy")
    assert len(text) == 200
    assert text.endswith("…")
    assert excerpt("plain") == "plain"


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b'{"a":'])
def test_an_event_that_cannot_be_mended_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        load_event(data)


@pytest.mark.parametrize(
    ("data", "readable"),
    [
        (b'{"usage":{"cost":NaN,"n":-Infinity}}', b'{"usage":{"cost":null,"n":null}}'),
        (b'{"text":"a\xff"}', '{"text":"a\ufffd"}'.encode()),
        (b'{"text":"\\ud800"}', '{"text":"\ufffd"}'.encode()),
        (b'{"cost":NaN,"n":99999999999999999999}', b'{"cost": null, "n": 99999999999999999999}'),
    ],
)
@pytest.mark.parametrize("event", [None, "message_delta"])
def test_a_frame_that_had_to_be_mended_is_handed_on_mended(
    data: bytes, readable: bytes, event: str | None
) -> None:
    frame = SseFrame(event, data, encode(data, event))
    body, mended = load_frame(frame)
    assert body == json.loads(readable)
    assert mended.raw == encode(readable, event)


def test_a_frame_that_is_json_is_handed_on_as_it_came() -> None:
    frame = SseFrame(None, b'{"a":1}', b'id: 7\r\ndata:{"a":1}\r\n\r\n')
    assert load_frame(frame) == ({"a": 1}, frame)


def test_a_frame_that_was_cut_off_holds_nothing_yet() -> None:
    frame = SseFrame(None, b'{"a":', b'data: {"a":', is_cut=True)
    assert load_frame(frame) == (None, frame)


_LEAVES = st.none() | st.booleans() | st.integers() | st.text(alphabet='a",[{\\é', max_size=8)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='a",[{\\', max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)


def _count(value: object) -> int:
    """Return the number of values; an empty container counts as if it held one."""
    if isinstance(value, dict):
        return 1 + (sum(map(_count, cast("dict[str, object]", value).values())) or 1)
    if isinstance(value, list):
        return 1 + (sum(map(_count, cast("list[object]", value))) or 1)
    return 1


@given(value=st.dictionaries(st.text(max_size=3), _VALUES, max_size=6), cut=st.integers(1, 40))
def test_values_are_counted_outside_of_strings_wherever_pieces_are_cut(
    value: dict[str, object], cut: int
) -> None:
    raw = json.dumps({"a": value}).encode()
    count = wire_body.count_values(raw, piece_bytes=cut)
    assert count == _count({"a": value}) - 1  # the root stands in no container


def test_too_many_values_are_refused_before_they_are_made() -> None:
    text = json.dumps({"a": "[," * 5_000}).encode()
    assert parse_body(text, max_values=10)
    with pytest.raises(InvalidRequest, match="more than 10 JSON values"):
        parse_body(b'{"a":[' + b",".join([b"1"] * 30) + b"]}", max_values=10)
