"""Below `/api/v1` errors and the list of models have the router's form; below `/v1`, OpenAI's."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.errors import DevFlowError
from devflow_core.wire import SseReader, get_dialect
from devflow_core.wire.table import with_status_codes
from devflow_openrouter.testing import error_body
from devflow_server.error_responses import error_reply
from dialect_samples import samples_of
from integration.told_faults import ENCODED, FAULTS
from integration.upstream_door import MODEL, Door, failed, open_door, streamed

WIRES = ["openai_chat", "openai_responses"]
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "id": str, "canonical_slug": str, "name": str, "created": int, "architecture": dict,
    "pricing": dict, "top_provider": dict, "links": dict, "supported_parameters": list,
    "context_length": (int, type(None)), "per_request_limits": type(None),
    "default_parameters": type(None), "supported_voices": type(None),
}  # fmt: skip
"""The fields of a row without which the SDKs refuse the whole list (1.3.84 and 1.3.19)."""


async def _post(door: Door, wire: str, prefix: str, **fields: Any) -> Any:
    path = f"{prefix}/v1{get_dialect(wire).path}"
    body = {"model": MODEL, **samples_of(wire).asks, **fields}
    return await door.client.post(path, json=body)


def _check_error(error: dict[str, Any], status: int, code: str) -> None:
    """What every error class of the SDKs demands, and where our own code stands."""
    assert error.keys() == {"code", "message", "metadata"}
    assert type(error["code"]) is int
    assert error["code"] == status
    assert error["message"]
    assert error["metadata"]["code"] == code
    assert isinstance(error["metadata"]["error_type"], str)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_errors_code_is_its_status(tmp_path: Path, wire: str) -> None:
    script = failed(error_body(403, "Flagged."), 403)
    async with open_door(tmp_path, script) as door:
        for fields, status, code in (
            ({"model": "nope/nothing"}, 404, "model_not_found"),
            ({}, 403, "upstream_refused"),
            ({"model": 7}, 400, "invalid_request"),
        ):
            for is_stream in (True, False):
                reply = await _post(door, wire, "/api", stream=is_stream, **fields)
                assert reply.status_code == status
                _check_error(reply.json()["error"], status, code)
            told = (await _post(door, wire, "", **fields)).json()["error"]
            assert told["code"] == code
        for path in ("/api/v1/nothing", "/api/v1/models/x/y/z"):
            reply = await door.client.get(path)
            _check_error(reply.json()["error"], 404, "not_found")
        assert (await door.client.get("/v1/nothing")).json()["error"]["code"] == "not_found"


async def test_so_is_that_of_a_client_without_a_key(tmp_path: Path) -> None:
    async with open_door(tmp_path, require_key=True) as door:
        replies = [
            await _post(door, "openai_chat", "/api"),
            await door.client.get("/api/v1/models"),
        ]
    for reply in replies:
        _check_error(reply.json()["error"], 401, "unauthorized")


@pytest.mark.parametrize("wire", WIRES)
def test_every_class_of_error_has_the_form(wire: Any) -> None:
    kinds = {fault.kind for fault in FAULTS.values()} - set(ENCODED)
    errors: list[DevFlowError] = [*ENCODED.values(), *(_make(kind) for kind in kinds)]
    for error in errors:
        status, body = error_reply(error, with_status_codes(get_dialect(wire)), "req_1")
        _check_error(orjson.loads(body)["error"], status, error.code)


def _make(kind: type[DevFlowError]) -> DevFlowError:
    error = kind.__new__(kind)
    DevFlowError.__init__(error, "No.")
    return error


async def test_a_failure_in_the_middle_has_it_too(tmp_path: Path) -> None:
    samples = samples_of("openai_chat")
    script = streamed(*samples.opening, samples.rest[0], samples.failure)
    async with open_door(tmp_path, script) as door:
        ours = await _post(door, "openai_chat", "/api", stream=True)
        openais = await _post(door, "openai_chat", "", stream=True)
    for reply, code in ((ours, 502), (openais, "upstream_unavailable")):
        frames = SseReader().feed(reply.content)
        chunk = orjson.loads(frames[-1].data or b"")
        assert chunk["error"]["code"] == code
        assert chunk["choices"][0]["finish_reason"] == "error"
        assert chunk.keys() >= {"id", "object", "created", "model"}
    assert chunk["error"]["code"] == "upstream_unavailable"


async def test_messages_keep_their_own_form_everywhere(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        reply = await _post(door, "anthropic_messages", "/api", model="nope/nothing")
    assert reply.json()["type"] == "error"


async def test_the_list_holds_rows_of_a_catalogue(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        listed = (await door.client.get("/api/v1/models")).json()
        openais = (await door.client.get("/v1/models?limit=9999")).json()
        claude = await door.client.get("/api/v1/models", headers={"anthropic-version": "1"})
    rows = listed["data"]
    assert listed["total_count"] == len(rows)
    assert listed["links"] == {"next": None}
    assert [row["id"] for row in rows] == [one["id"] for one in openais["data"]]
    for row in rows:
        for name, kinds in REQUIRED.items():
            assert isinstance(row[name], kinds), (row["id"], name)
        assert {type(value) for value in row["pricing"].values()} == {str}
        assert row["pricing"].keys() >= {"prompt", "completion"}
        assert row["architecture"]["input_modalities"][0] == "text"
        assert isinstance(row["links"]["details"], str)
        assert row["top_provider"]["is_moderated"] is False
    by_id = {row["id"]: row for row in rows}
    assert by_id["auto"]["pricing"]["prompt"] == "-1"
    assert "image" in by_id["openai/gpt-5-mini"]["architecture"]["input_modalities"]
    assert "tools" in by_id["openai/gpt-5-mini"]["supported_parameters"]
    assert claude.json()["data"][0]["type"] == "model"
