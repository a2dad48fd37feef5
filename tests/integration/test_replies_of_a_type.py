"""Replies are asked for and parsed as values of a Python type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, get_origin

import orjson
import pytest
from devflow_core import ChatRequest
from devflow_core.errors import InvalidRequest, StructuredOutputInvalid
from devflow_core.request import ResponseFormat, Tool
from devflow_gateway import AsyncGateway
from devflow_gateway.calls.parsing import ReplyType
from devflow_sandbox import Sandbox
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

MODEL = "openai/gpt-5-mini"


class Place(BaseModel):
    path: str = Field(description="from the root")
    line: int = Field(ge=1)


class Bug(BaseModel):
    kind: Literal["crash", "slow"]
    place: Place = Field(description="where it is")
    seen: date | None = None
    others: list[Place] = []


class Tree(BaseModel):
    name: str
    left: Tree | None = Field(default=None, description="the left one")


@dataclass
class Point:
    x: int
    y: int


class Named(TypedDict):
    name: str


def answers(*texts: Any) -> dict[str, Any]:
    said = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in texts]
    return {"turns": [{"reply": {"text": one}} for one in said]}


ASKED = ChatRequest.from_text("Which bug?", model=MODEL)
GOOD: dict[str, Any] = {
    "kind": "crash",
    "place": {"path": "a.py", "line": 3},
    "seen": "2026-11-30",
    "others": [],
}


@pytest.mark.parametrize("kind", [Bug, list[Bug], int, Point, Named, Tree, dict[str, int], bool])
async def test_what_the_provider_makes_of_the_schema_fits_the_type(
    gateway: AsyncGateway, kind: type[Any]
) -> None:
    # the stand-in makes up a reply that fits the schema it is sent
    completion = await gateway.complete(ASKED, response_model=kind)
    shape: Any = {Named: dict}.get(kind, get_origin(kind) or kind)
    assert isinstance(completion.parsed, shape)
    assert completion.cost_usd > 0


async def test_a_reply_is_parsed_and_repaired(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    wrong: dict[str, Any] = {
        **GOOD,
        "place": {"path": "a.py", "line": 0},
    }  # only the type says that this is wrong
    sandbox.set_script(answers(wrong, "no JSON", GOOD))
    completion = await gateway.complete(ASKED, response_model=Bug, repairs=2)
    assert completion.parsed.place.line == 3
    assert completion.parsed.seen == date(2026, 11, 30)
    assert len(sandbox.bill()["calls"]) == 3


async def test_repairs_that_run_out_name_the_place(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    wrong: dict[str, Any] = {**GOOD, "place": {"path": "a.py", "line": 0}}
    sandbox.set_script(answers(wrong, wrong))
    with pytest.raises(StructuredOutputInvalid) as caught:
        await gateway.complete(ASKED, response_model=Bug, repairs=1)
    assert caught.value.violations[0].startswith("$.place.line: ")
    assert len(sandbox.bill()["calls"]) == 2


async def test_fewer_than_no_repairs_are_refused(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    given: list[dict[str, Any]] = [{}, {"response_model": Bug}]
    for options in given:
        with pytest.raises(InvalidRequest, match="repairs"):
            await gateway.complete(ASKED, repairs=-1, **options)
        (result,) = [one async for one in gateway.batch([ASKED], repairs=-1, **options)]
        assert isinstance(result.error, InvalidRequest)
    assert sandbox.bill()["calls"] == []


async def test_repairs_under_an_idempotency_key_are_kept(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_script(answers("no JSON", [1, 2], {"value": [1, 2]}))
    for _ in range(2):
        completion = await gateway.complete(
            ASKED, response_model=list[int], repairs=2, idempotency_key="numbers"
        )
        assert completion.parsed == [1, 2]
        assert len(sandbox.bill()["calls"]) == 3


def objects_of(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for one in node for found in objects_of(one)]  # type: ignore[reportUnknownVariableType]
    if not isinstance(node, dict):
        return []
    inner = [found for one in node.values() for found in objects_of(one)]  # type: ignore[reportUnknownVariableType]
    return [node, *inner]  # type: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("kind", [Bug, Tree, list[Bug], Bug | None, Point])
def test_the_schema_is_one_that_strict_modes_take(kind: Any) -> None:
    wanted = ReplyType[Any](kind).format
    assert wanted.strict
    assert wanted.schema["type"] == "object"
    for node in objects_of(wanted.schema):
        if "$ref" in node:
            assert set(node) <= {"$ref", "$defs"}
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        assert not {"default", "minimum", "oneOf"} & set(node) or "properties" in node
    assert "minimum: 1" in str(wanted.schema) or kind in (Tree, Point)


def test_what_no_strict_mode_takes_is_asked_for_as_it_is() -> None:
    for kind in (dict[str, int], tuple[int, str]):
        assert ReplyType[Any](kind).format.strict is None


async def test_what_is_wrong_is_said_before_anything_is_paid(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    for request, kind, words in (
        (ASKED, Sandbox, "no JSON schema"),
        (replace(ASKED, tools=(Tool(name="look"),)), Bug, "run_tools"),
        (replace(ASKED, response_format=ResponseFormat(kind="json_object")), Bug, "either"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await gateway.complete(request, response_model=kind)
    assert not sandbox.bill()["calls"]
