"""Anthropic's clients list models page by page, and can read every error as theirs."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from devflow_core.wire import DIALECTS
from integration.upstream_door import open_door

VERSION = {"anthropic-version": "2023-06-01"}
FIRST = "claude-via-devflow/auto"


async def test_real_clients_walk_all_pages(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, ()) as door,
        anthropic.AsyncAnthropic(base_url=door.url, api_key="x", max_retries=0) as messages,
        openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0) as chat,
    ):
        whole = [one.id async for one in messages.models.list()]
        assert [one.id async for one in messages.models.list(limit=50)] == whole
        assert len(set(whole)) == len(whole) > 100
        first = await messages.models.list(limit=7)
        assert (first.first_id, first.last_id, first.has_more) == (FIRST, whole[6], True)
        # backwards, each page in the order of the list
        pages = messages.models.list(limit=100, before_id=whole[250])
        back = [[model.id for model in page.data] async for page in (await pages).iter_pages()]
        assert back == [whole[150:250], whole[50:150], whole[:50]]
        # OpenAI's list has no pages, and the same models
        known = [one.id async for one in chat.models.list()]
        listed = (await door.client.get("/v1/models")).json()
    assert known == [one.removeprefix("claude-via-devflow/") for one in whole]
    assert (listed["object"], listed["has_more"], len(listed["data"])) == (
        "list",
        False,
        len(whole),
    )


async def test_the_ends_of_the_list_and_what_is_no_page(tmp_path: Path) -> None:
    async with open_door(tmp_path, ()) as door:

        async def page(query: str) -> dict[str, Any]:
            return (await door.client.get(f"/v1/models?{query}", headers=VERSION)).json()

        whole = await page("")
        assert set(whole) == {"data", "has_more", "first_id", "last_id"}
        assert not whole["has_more"]
        ids = [one["id"] for one in whole["data"]]
        last = await page(f"limit=1000&after_id={ids[-1]}")
        nothing: dict[str, Any] = {"data": [], "has_more": False, "first_id": None}
        assert last == {**nothing, "last_id": None}
        assert await page(f"before_id={ids[0]}") == last
        # an id may come percent-encoded, and as OpenAI's list has it
        encoded = await page("limit=2&after_id=claude-via-devflow%2Fauto%3Afast")
        assert [one["id"] for one in encoded["data"]] == ids[3:5]
        assert await page("limit=2&after_id=auto:fast") == encoded
        for query, field in (
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=%D9%A3", "limit"),
            ("after_id=nope", "after_id"),
            ("before_id=nope", "before_id"),
            (f"after_id={ids[3]}&before_id={ids[5]}", "after_id"),
        ):
            reply = await door.client.get(f"/v1/models?{query}", headers=VERSION)
            assert reply.status_code == 400, query
            assert reply.json()["error"]["type"] == "invalid_request_error"
            assert reply.json()["error"]["message"].startswith(field)


FAILURES = (
    ("GET", "/v1/models/nope", 404, "not_found_error"),
    ("DELETE", "/v1/models", 405, "invalid_request_error"),
    ("GET", "/v1/messages", 405, "invalid_request_error"),
    ("POST", "/v1/messages/batches", 404, "not_found_error"),
    ("GET", "/v1/messages/batches/msgbatch_1/results", 404, "not_found_error"),
    ("POST", "/v1/files", 404, "not_found_error"),
    ("GET", "/nothing", 404, "not_found_error"),
    ("POST", "/v1/messages/count_tokens", 400, "invalid_request_error"),
)


async def test_every_error_is_in_the_envelope_of_the_clients_dialect(tmp_path: Path) -> None:
    async with open_door(tmp_path, ()) as door:
        for method, path, status, kind in FAILURES:
            reply = await door.client.request(method, path, headers=VERSION)
            told = reply.json()
            assert reply.status_code == status, path
            assert (told["type"], told["error"]["type"]) == ("error", kind), path
            assert re.match(r"req_\w+", told["request_id"])
            assert told["request_id"] == reply.headers["request-id"]


async def test_anthropics_own_client_reads_a_missing_model(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, ()) as door,
        anthropic.AsyncAnthropic(base_url=door.url, api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.models.retrieve("nope")
        model = await client.models.retrieve(FIRST)
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id
    assert (model.type, model.id) == ("model", FIRST)


async def test_a_path_below_messages_needs_no_header(tmp_path: Path) -> None:
    async with open_door(tmp_path, ()) as door:
        for path in ("/v1/messages/batches", "/v1/messages/batches/msgbatch_1/cancel"):
            reply = await door.client.post(path, json={})
            assert (reply.status_code, reply.json()["type"]) == (404, "error"), path


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_over_our_limit_is_a_request_too_large(
    tmp_path: Path, *, is_announced: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b" " * 1024

    async with open_door(tmp_path, (), max_body_bytes=4096) as door:
        body = b" " * 8192 if is_announced else pieces()
        reply = await door.client.post("/v1/messages", content=body, headers=VERSION)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (413, "false")
    told = reply.json()
    assert (told["type"], told["error"]["type"]) == ("error", "request_too_large")


async def test_a_route_of_another_dialect_keeps_its_own(tmp_path: Path) -> None:
    async with open_door(tmp_path, ()) as door:
        reply = await door.client.post("/v1/chat/completions", json={}, headers=VERSION)
        status = await door.client.post("/openrouter/status", headers=VERSION)
    assert "type" not in reply.json()
    assert set(status.json()) == {"detail", "code", "request_id"}


def test_at_most_one_dialect_claims_a_header() -> None:
    headers = [one.client_header for one in DIALECTS.values() if one.client_header]
    assert len(set(headers)) == len(headers)
