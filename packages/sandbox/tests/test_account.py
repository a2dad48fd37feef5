"""Money, keys, limits and counters: what is left, who may, and what it truly cost."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
Body = dict[str, Any]


def at_noon() -> float:
    return 1_795_262_400.0  # 2026-11-21 12:00 UTC, a Saturday


async def test_generation_is_unknown_for_a_while_then_tells_the_true_cost(
    client: Client, chat_body: Body
) -> None:
    sandbox = Sandbox(clock=at_noon)
    async with client(sandbox) as http:
        name = (await http.post("chat/completions", json={**chat_body, "user": "u"})).json()["id"]
        early = await http.get("generation", params={"id": name})
        sandbox.advance(0.6)
        late = (await http.get("generation", params={"id": name})).json()["data"]
        other = await http.get("generation", params={"id": "gen-1-x"})
        none = await http.get("generation")
    assert (early.status_code, other.status_code, none.status_code) == (404, 404, 400)
    assert Decimal(str(late["total_cost"])) == Decimal(sandbox.bill()["total_usd"])
    assert (late["external_user"], late["streamed"], late["cancelled"]) == ("u", False, False)


async def test_the_usage_of_a_key_may_be_reported_late(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(clock=at_noon, totals_delay_s=30)
    async with client(sandbox) as http:
        await http.post("chat/completions", json=chat_body)
        early = (await http.get("key")).json()["data"]
        sandbox.advance(31)
        late = (await http.get("key")).json()["data"]
    assert (early["usage"], early["usage_daily"], early["usage_monthly"]) == (0, 0, 0)
    assert Decimal(str(late["usage_daily"])) == Decimal(sandbox.bill()["total_usd"]) > 0


async def test_generation_of_another_account_is_unknown(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(generation_delay_s=0)
    stranger = sandbox.add_key("stranger", credits_usd=Decimal(5))
    async with client(sandbox) as http, client(sandbox, stranger) as other:
        name = (await http.post("chat/completions", json=chat_body)).json()["id"]
        assert (await other.get("generation", params={"id": name})).status_code == 404


async def test_key_reports_what_is_left_by_period(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(clock=at_noon)
    async with (
        client(sandbox) as http,
        client(sandbox, sandbox.management_key) as manager,
    ):
        await http.post("chat/completions", json=chat_body)
        sandbox.advance(86_400)  # Sunday, the same week
        await http.post("chat/completions", json=chat_body)
        sunday = (await http.get("key")).json()["data"]
        sandbox.advance(86_400)  # Monday
        monday = (await http.get("key")).json()["data"]
        rows = (await manager.get("activity")).json()["data"]
        one_day = (await manager.get("activity", params={"date": "2026-11-21"})).json()["data"]
        nobody = (await manager.get("activity", params={"api_key_hash": "x"})).json()["data"]
        credits = (await manager.get("credits")).json()["data"]
    assert sunday["usage_weekly"] == pytest.approx(2 * sunday["usage_daily"])
    assert (monday["usage_daily"], monday["usage_weekly"]) == (0, 0)
    assert monday["usage_monthly"] == monday["usage"] == sunday["usage"]
    assert [row["date"] for row in rows] == ["2026-11-22", "2026-11-21"]
    assert (len(one_day), nobody) == (1, [])
    assert credits["total_usage"] == monday["usage"]


async def test_management_keys_manage_and_others_do_not(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http, client(sandbox, sandbox.management_key) as manager:
        for path in ("keys", "credits", "activity"):
            assert (await http.get(path)).status_code == 403
            assert (await manager.get(path)).status_code == 200
        assert (await manager.post("chat/completions", json=chat_body)).status_code == 403


async def test_keys_are_created_changed_used_up_and_deleted(
    client: Client, chat_body: Body
) -> None:
    sandbox = Sandbox(clock=at_noon)
    async with client(sandbox, sandbox.management_key) as manager:
        new = {"name": "ci", "limit": 0.001, "limit_reset": "daily", "include_byok_in_limit": True}
        created = await manager.post("keys", json=new)
        secret, data = created.json()["key"], created.json()["data"]
        path = f"keys/{data['hash']}"
        async with client(sandbox, secret) as http:
            assert (await http.post("chat/completions", json=chat_body)).status_code == 200
            spent = await http.post("chat/completions", json=chat_body)
            budget = (await http.get("key")).json()["data"]["effective_budget"]
            sandbox.advance(86_400)
            assert (await http.post("chat/completions", json=chat_body)).status_code == 200
            assert (await manager.patch(path, json={"disabled": True})).status_code == 200
            assert (await http.post("chat/completions", json=chat_body)).status_code == 401
        listed = (await manager.get("keys")).json()["data"]
        every = (await manager.get("keys", params={"include_disabled": "true"})).json()["data"]
        changed = await manager.patch(path, json={"name": "x", "limit": None, "disabled": False})
        assert changed.json()["data"]["limit"] is None
        assert (await manager.get(path)).json()["data"]["name"] == "x"
        assert (await manager.delete(path)).json() == {"deleted": True}
        assert (await manager.get(path)).status_code == 404
    assert (created.status_code, data["limit_remaining"], secret in str(data)) == (
        201,
        0.001,
        False,
    )
    assert (spent.status_code, budget["remaining_usd"]) == (403, 0)
    assert "Key limit exceeded (daily limit)" in spent.json()["error"]["message"]
    assert (len(listed), len(every)) == (1, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a", "limit": -1},
        {"name": "a", "limit_reset": "hourly"},
        {"name": "a", "expires_at": "soon"},
        {"name": "a", "expires_at": "2027-01-01T00:00:00+02:00"},
    ],
)
async def test_wrong_keys_are_refused_and_leave_nothing(client: Client, body: Body) -> None:
    sandbox = Sandbox()
    async with client(sandbox, sandbox.management_key) as manager:
        assert (await manager.post("keys", json=body)).status_code == 400
        assert len((await manager.get("keys")).json()["data"]) == 1
        assert (await manager.get("keys", params={"offset": "-1"})).status_code == 400


async def test_key_expires(client: Client) -> None:
    sandbox = Sandbox(clock=at_noon)
    async with client(sandbox, sandbox.management_key) as manager:
        new = {"name": "short", "expires_at": "2026-11-21T13:00:00Z"}
        created = (await manager.post("keys", json=new)).json()
    async with client(sandbox, created["key"]) as http:
        assert (await http.get("key")).json()["data"]["expires_at"] == "2026-11-21T13:00:00.000Z"
        sandbox.advance(3600)
        assert (await http.get("key")).status_code == 401


async def test_program_gets_a_key_by_pkce() -> None:
    sandbox = Sandbox(clock=at_noon)
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    authorisation = {
        "callback_url": "http://localhost:5000/back?a=b",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    async with httpx.AsyncClient(transport=sandbox.transport(), base_url="http://x/") as http:
        page = await http.get("auth", params=authorisation)
        assert "localhost:5000" in page.text

        async def code() -> str:
            redirect = await http.post("auth", data=authorisation)
            assert redirect.status_code == 302
            return parse_qs(urlsplit(redirect.headers["location"]).query)["code"][0]

        async def key(**body: str) -> httpx.Response:
            return await http.post("api/v1/auth/keys", json=body)

        first = await code()
        wrong = await key(code=first, code_verifier="no", code_challenge_method="S256")
        repeated = await key(code=first, code_verifier=verifier)
        granted = await key(code=await code(), code_verifier=verifier, code_challenge_method="S256")
        late = await code()
        sandbox.advance(601)
        expired = await key(code=late, code_verifier=verifier)
        method = await key(code=late, code_challenge_method="S512")
        mismatched = await key(code=await code(), code_challenge_method="plain")
        headers = {"authorization": f"Bearer {granted.json()['key']}"}
        assert (await http.get("api/v1/key", headers=headers)).status_code == 200
    assert [one.status_code for one in (wrong, repeated, expired, method, mismatched)] == [
        403,
        403,
        403,
        400,
        400,
    ]


async def test_code_is_shown_without_a_callback_and_pages_are_checked() -> None:
    sandbox = Sandbox()
    async with httpx.AsyncClient(transport=sandbox.transport(), base_url="http://x/") as http:
        assert (await http.get("auth")).status_code == 400
        bad = {"callback_url": "javascript:alert(1)"}
        assert (await http.get("auth", params=bad)).status_code == 400
        odd = {"callback_url": "http://a/", "code_challenge_method": "x"}
        assert (await http.get("auth", params=odd)).status_code == 400
        page = await http.post("auth", data={"code_challenge": "secret"})
        code = page.text.split("<pre>")[1].split("<")[0]
        body = {"code": code, "code_verifier": "secret", "code_challenge_method": "plain"}
        assert (await http.post("api/v1/auth/keys", json=body)).status_code == 200


async def test_402_says_how_many_tokens_are_affordable(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(credits_usd=Decimal("0.05"))
    async with client(sandbox) as http:
        error = (await http.post("chat/completions", json=chat_body)).json()["error"]
        assert (
            await http.post("chat/completions", json={**chat_body, "max_tokens": 99})
        ).is_success
        sandbox.state.account.used_usd = Decimal("0.06")
        empty = (await http.post("chat/completions", json=chat_body)).json()["error"]
    assert "requested up to 64000 tokens, but can only afford 33" in error["message"]
    assert (error["code"], empty["message"][:20]) == (402, "Insufficient credits")


async def test_calls_under_way_hold_what_they_will_cost(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(credits_usd=Decimal("0.004"))
    body = {**chat_body, "max_tokens": 200}
    async with (
        client(sandbox) as http,
        http.stream("POST", "chat/completions", json={**body, "stream": True}) as first,
    ):
        reply = await http.post("chat/completions", json=body)
        await first.aread()
    error = reply.json()["error"]
    assert error["metadata"]["limit_source"] == "openrouter_in_flight_budget"
    assert reply.headers["retry-after"] == "5"


async def test_free_models_are_counted_by_minute_and_day(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(credits_usd=Decimal(0), clock=at_noon)
    body = {**chat_body, "model": "openrouter/free"}
    async with client(sandbox) as http:
        replies = [(await http.post("chat/completions", json=body)) for _ in range(21)]
        sandbox.advance(60)
        replies += [(await http.post("chat/completions", json=body)) for _ in range(20)]
        sandbox.advance(60)
        replies += [(await http.post("chat/completions", json=body)) for _ in range(10)]
        counters = (await http.get("key")).json()["data"]["free_model_daily_requests"]
    assert [index for index, one in enumerate(replies) if one.status_code == 429] == [20, 50]
    assert replies[20].headers["x-ratelimit-reset"] == str((int(at_noon()) + 60) * 1000)
    assert replies[50].headers["x-ratelimit-limit"] == "50"
    assert counters == {"used": 51, "limit": 50, "remaining": 0}
    assert sandbox.bill()["total_usd"] == "0"


async def test_byok_costs_nothing_then_the_fee(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(byok=frozenset({"amazon-bedrock"}))
    async with client(sandbox) as http:
        free = (await http.post("chat/completions", json=chat_body)).json()
        sandbox.state.account.byok_used_usd = Decimal(25_000)
        paid = (await http.post("chat/completions", json=chat_body)).json()["usage"]
    list_price = paid["cost_details"]["upstream_inference_cost"]
    assert (free["provider"], free["usage"]["cost"]) == ("Amazon Bedrock", 0)
    assert free["usage"]["is_byok"] is True
    assert paid["cost"] == pytest.approx(list_price * 0.05)
    first, second = sandbox.bill()["calls"]
    assert (first["cost_usd"], first["byok_usd"]) == ("0", second["byok_usd"])


async def test_any_key_is_taken_where_that_was_set_up(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(accept_any_key=True)
    async with client(sandbox, "sk-or-v1-mine") as http:
        assert (await http.post("chat/completions", json=chat_body)).status_code == 200
