"""Laws of every dialect in the table: its route, its description, its limit, its errors."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.messages import JsonObject
from devflow_core.wire import DIALECTS, Dialect, SseReader, guess_dialect
from dialect_samples import samples_of
from integration.upstream_door import MODEL, open_door, streamed

SMALL = "openai/gpt-4o-mini"
each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda one: one.name)
CEILING: dict[str, Any] = {"model": SMALL, "headers": {"x-devflow-max-cost-usd": "0.05"}}


def test_a_dialect_without_samples_is_told_what_to_write() -> None:
    with pytest.raises(LookupError, match=r"write tests/dialect_samples/telegram\.py"):
        samples_of("telegram")


@each_dialect
@pytest.mark.parametrize("is_stream", [True, False])
async def test_it_is_answered_at_its_path_and_booked(
    tmp_path: Path, dialect: Dialect, is_stream: bool
) -> None:
    async with open_door(tmp_path, streamed(*samples_of(dialect.name).hello)) as door:
        reply = await door.send(dialect.name, stream=is_stream)
        assert door.upstream.paths == [f"/api/v1{dialect.path}"]
        assert reply.status_code == 200
    assert "Hello" in reply.text
    assert '"cost_usd":"0.0001' in reply.text
    if not is_stream:
        events = dialect.decode_response(reply.content)
        assert "Hello" in "".join(getattr(one, "text", "") for one in events)


@each_dialect
async def test_its_limit_stands_in_its_own_field(tmp_path: Path, dialect: Dialect) -> None:
    async with open_door(tmp_path, streamed(*samples_of(dialect.name).hello)) as door:
        reply = await door.send(dialect.name, stream=False, **CEILING)
        (body,) = door.upstream.bodies
    assert reply.status_code == 200
    assert body[dialect.output_limit_field] > 0
    assert body["model"] == SMALL


@each_dialect
async def test_a_field_of_unknown_cost_is_refused_where_a_limit_holds(
    tmp_path: Path, dialect: Dialect
) -> None:
    async with open_door(tmp_path, streamed(*samples_of(dialect.name).hello)) as door:
        refused = await door.send(dialect.name, stream=False, by_pigeon=True, **CEILING)
        assert (refused.status_code, door.upstream.bodies) == (402, [])
        assert "unknown_price" in refused.text
        passed = await door.send(dialect.name, stream=False, by_pigeon=True)
        assert passed.status_code == 200
        assert door.upstream.bodies[0]["by_pigeon"] is True


@each_dialect
async def test_it_is_described(tmp_path: Path, dialect: Dialect) -> None:
    async with open_door(tmp_path) as door:
        paths = (await door.client.get("/openapi.json")).json()["paths"]
    for prefix in ("", "/api"):
        described = paths[f"{prefix}/v1{dialect.path}"]["post"]
        assert described["summary"] == dialect.summary
        (content,) = described["requestBody"]["content"].values()
        assert content["schema"] == {"type": "object", **dialect.body_schema}
        required: list[str] = dialect.body_schema["required"]
        assert {"model", *samples_of(dialect.name).asks} >= set(required)


@each_dialect
def test_no_two_dialects_share_a_path_or_a_shape(dialect: Dialect) -> None:
    assert [one for one in DIALECTS.values() if one.path == dialect.path] == [dialect]
    body: JsonObject = {"model": MODEL, **samples_of(dialect.name).body}
    claiming = [one for one in DIALECTS.values() if one.has_shape(body)]
    assert claiming in ([], [dialect])
    assert guess_dialect(body) is dialect


@each_dialect
def test_its_ping_is_read_as_nothing(dialect: Dialect) -> None:
    if dialect.ping is None:
        return
    (frame,) = SseReader().feed(dialect.ping)
    assert orjson.loads(frame.data or b"")
