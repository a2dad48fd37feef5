"""The fault plan as data: it is whole, every case can be played, and it is played by its id."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, get_args

import httpx
import pytest
from devflow_core.errors import ConfigurationError
from devflow_sandbox import FaultCase, Sandbox, find_case, load_plan
from devflow_sandbox.faults.addresses import AUTHORITY, UNKNOWN_HOST, Address
from devflow_sandbox.faults.plan import ROWS
from devflow_sandbox.faults.schema import FaultAction

PLAN = load_plan()
KINDS = {one.model_fields["kind"].annotation for one in get_args(get_args(FaultAction)[0])}
LEAST_CASES = 69
WITH_TLS = [case for case in PLAN if case.address.startswith("tls_")]


def test_every_row_of_the_plan_has_a_case_and_case_names_are_unique() -> None:
    assert {case.row for case in PLAN} == set(ROWS)
    assert len({case.id for case in PLAN}) == len(PLAN) >= LEAST_CASES
    assert [case.row for case in PLAN] == sorted(case.row for case in PLAN)
    assert len({case.description for case in PLAN}) == len(PLAN)


def test_every_kind_of_fault_and_every_address_occurs_in_the_plan() -> None:
    played = {rule.then.kind for case in PLAN for rule in case.faults}
    known = {get_args(kind)[0] for kind in KINDS}
    assert played | {"billing"} == known  # that one changes the bill of another fault
    assert {case.address for case in PLAN} == set(get_args(Address))


@pytest.mark.parametrize("case", PLAN, ids=lambda case: case.id)
def test_the_expected_outcomes_are_consistent(case: FaultCase) -> None:
    expect = case.expect
    assert case.faults or case.address != "open"
    assert all(rule.when.method == "POST" for rule in case.faults)
    assert bool(expect.status) == (expect.outcome in ("failed", "cut"))
    assert all(400 <= status < 600 for status in expect.status)
    if expect.outcome == "success":
        assert expect.billed == "reply"
    assert case.id[4:].lower() == case.id[4:]
    assert FaultCase.model_validate(case.as_json()) == case


def test_a_case_of_another_name_is_refused_with_those_of_its_row() -> None:
    with pytest.raises(ConfigurationError, match=r"no case 'U13-x'. This row has U13-no-credits"):
        find_case("U13-x")
    with pytest.raises(ConfigurationError, match="--list-faults"):
        find_case("nonsense")


async def test_cases_are_listed_and_played_over_http(
    chat_body: dict[str, Any], client: Any
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        listed = (await http.get("http://x/sandbox/faults/plan")).json()["cases"]
        assert [one["id"] for one in listed] == [case.id for case in PLAN]
        put = await http.put("http://x/sandbox/faults", json={"case": "U15-503"})
        assert (put.status_code, put.json()) == (200, {"faults": 1})
        assert (await http.post("chat/completions", json=chat_body)).status_code == 503
        assert (await http.get("models")).status_code == 200  # replies alone meet it
        for wrong in ("U99-x", "U01-dns"):
            refused = await http.put("http://x/sandbox/faults", json={"case": wrong})
            assert refused.status_code == 400
            assert wrong in refused.text
    assert sandbox.bill()["calls"][0]["fault"] == "U15-503"


async def test_a_case_brings_its_replies_along(chat_body: dict[str, Any], client: Any) -> None:
    async with client(Sandbox(faults=find_case("U18-gap"))) as http:
        tools = [{"type": "function", "function": {"name": name}} for name in ("one", "two")]
        reply = await http.post("chat/completions", json=chat_body | {"tools": tools})
    calls = reply.json()["choices"][0]["message"]["tool_calls"]
    assert [one["function"]["name"] for one in calls] == ["one", "two"]


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("form", ["line-separator", "bad-utf8", "after-done"])
async def test_texts_are_changed_in_every_dialect(client: Any, path: str, form: str) -> None:
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "messages": [{"role": "user", "content": "hi"}],
        "input": "hi",
        "max_tokens": 99,
        "stream": True,
    }
    async with client(Sandbox(faults=find_case(f"U17-{form}"))) as http:
        content = (await http.post(path, json=body)).content
    marks = {"line-separator": b"\xe2\x80\xa8", "bad-utf8": b"\xff\xfe", "after-done": b"too late"}
    assert marks[form] in content


async def test_waits_are_sent_as_dates_and_as_resets(
    chat_body: dict[str, Any], client: Any
) -> None:
    async def headers(name: str) -> tuple[httpx.Headers, dict[str, Any]]:
        async with client(Sandbox(faults=find_case(name), clock=lambda: 1_800_000_000.0)) as http:
            reply = await http.post("chat/completions", json=chat_body)
            return reply.headers, reply.json()["error"].get("metadata") or {}

    assert (await headers("U12-date"))[0]["retry-after"] == "Fri, 15 Jan 2027 08:00:02 GMT"
    assert (await headers("U12-past-date"))[0]["retry-after"] == "Fri, 15 Jan 2027 07:00:00 GMT"
    assert (await headers("U12-reset-header"))[0]["x-ratelimit-reset"] == "1800000001000"
    given, metadata = await headers("U12-reset-metadata")
    assert "x-ratelimit-reset" not in given
    assert metadata["headers"] == {"X-RateLimit-Reset": "1800000001000"}


async def test_the_address_of_a_closed_port_refuses() -> None:
    async with Sandbox(faults=find_case("U01-refused")) as sandbox:
        port = int(sandbox.base_url.split(":")[2].split("/")[0])
        assert not sandbox.url.endswith(str(port))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_the_address_of_an_unknown_host_is_reserved_for_it() -> None:
    async with Sandbox(faults=find_case("U01-dns")) as sandbox:
        assert sandbox.anthropic_url.startswith(f"https://{UNKNOWN_HOST}:")
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(UNKNOWN_HOST, 443)


@pytest.mark.parametrize("case", WITH_TLS, ids=lambda case: case.id)
async def test_certificates_have_only_the_fault_of_their_case(case: FaultCase) -> None:
    words = {
        "U01-tls-expired": "expired",
        "U01-tls-wrong-name": "not valid for '127.0.0.1'",
        "U01-tls-self-signed": "self-signed",
    }
    trusting = ssl.create_default_context(cafile=str(AUTHORITY))
    async with Sandbox(faults=case) as sandbox:
        assert sandbox.base_url.startswith("https://")
        with pytest.raises(ssl.SSLCertVerificationError, match=words[case.id]):
            await asyncio.open_connection("127.0.0.1", sandbox.url.split(":")[2], ssl=trusting)
