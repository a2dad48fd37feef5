import asyncio
from typing import Any

import httpx
import pytest
from devflow_core.errors import Incomplete, NotSent, PossiblyAccepted, StoreError
from devflow_core.masking import KNOWN_SECRETS, mask
from devflow_core.testing import FakeUpstream, reply_events
from devflow_server.replies.idempotency import ClaimStore
from devflow_store import Claim, InFlight, UnknownOutcome

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
KEY = {"idempotency-key": "k-1"}


async def ask_and_leave(server: Any, gate: Any, eventually: Any) -> None:
    """A client whose reply has begun hangs up."""
    leaving = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=KEY))
    await gate.reached.wait()
    leaving.cancel()
    await eventually(lambda: server.listener.in_flight == 0)


async def test_a_key_sent_again_gets_the_same_reply_and_costs_nothing(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("one"), reply_events("two"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
        other = await server.client.post(PATH, json=CHAT, headers={"idempotency-key": "k-2"})
    assert again.content == first.content != other.content
    assert again.headers["idempotent-replayed"] == "true"
    for name in ("x-devflow-request-id", "x-devflow-cost-usd", "x-devflow-model"):
        assert again.headers[name] == first.headers[name]
    assert len(server.upstream.calls) == len(server.book.ledger.entries) == 2


async def test_a_stream_is_replayed_byte_for_byte(open_server: Any) -> None:
    body = {**CHAT, "stream": True}
    async with open_server(FakeUpstream(reply_events("one", "two"))) as server:
        first = await server.client.post(PATH, json=body, headers=KEY)
        again = await server.client.post(PATH, json=body, headers=KEY)
    assert '"content":"one"' in first.text
    assert again.headers["content-type"] == "text/event-stream"
    assert again.content == first.content


async def test_ten_at_once_are_carried_out_once(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        asking = asyncio.gather(
            *[server.client.post(PATH, json=CHAT, headers=KEY) for _ in range(10)]
        )
        await eventually(lambda: server.listener.in_flight == 10)
        gate.open()
        replies = await asking
    assert len({reply.content for reply in replies}) == 1
    assert len(server.upstream.calls) == len(server.book.ledger.entries) == 1


async def test_another_body_is_a_conflict(open_server: Any) -> None:
    async with open_server() as server:
        await server.client.post(PATH, json=CHAT, headers=KEY)
        other = await server.client.post(PATH, json={**CHAT, "max_tokens": 1}, headers=KEY)
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert len(server.upstream.calls) == 1


async def test_keys_of_two_clients_are_two_keys(open_server: Any, fake_keys: Any) -> None:
    async with open_server(keys=fake_keys(anne={}, bob={})) as server:
        for name in ("anne", "bob"):
            reply = await server.client.post(PATH, json=CHAT, headers={**KEY, "x-api-key": name})
            assert "idempotent-replayed" not in reply.headers
    assert len(server.upstream.calls) == 2


async def test_a_client_that_leaves_finds_the_reply_when_it_asks_again(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        await ask_and_leave(server, gate, eventually)
        asking = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=KEY))
        await eventually(lambda: server.listener.in_flight == 1)
        gate.open()
        reply = await asking
    assert reply.json()["choices"][0]["message"]["content"] == "one"
    assert len(server.upstream.calls) == 1


async def test_what_was_never_sent_may_be_tried_again(open_server: Any) -> None:
    async with open_server(FakeUpstream([NotSent("No route.")], reply_events("one"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (502, 200)


async def test_what_may_have_been_billed_is_not_done_twice(open_server: Any) -> None:
    lost = PossiblyAccepted("The connection ended.")
    async with open_server(FakeUpstream([lost], reply_events("one"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (502, 502)
    assert again.json()["error"]["code"] == first.json()["error"]["code"]
    assert len(server.upstream.calls) == 1


async def test_a_stream_that_broke_off_is_replayed_as_broken(open_server: Any) -> None:
    started, first, *_ = reply_events("Hel", "lo")
    body = {**CHAT, "stream": True}
    async with open_server(FakeUpstream([started, first, Incomplete("Cut off.")])) as server:
        await server.client.post(PATH, json=body, headers=KEY)
        again = await server.client.post(PATH, json=body, headers=KEY)
    assert "upstream_incomplete" in again.text
    assert len(server.upstream.calls) == 1


async def test_a_key_that_is_none_is_refused(open_server: Any) -> None:
    async with open_server() as server:
        for key in ("", "a b", "x" * 256):
            reply = await server.client.post(PATH, json=CHAT, headers={"idempotency-key": key})
            assert reply.status_code == 400


PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")


def body_for(path: str, *, stream: bool) -> dict[str, Any]:
    if path.endswith("responses"):
        return {"model": "auto", "input": "hello", "stream": stream}
    return {**CHAT, "max_tokens": 10, "stream": stream}


class WrappedClaims:
    """Claims in which a test changes one thing."""

    def __init__(self, claims: ClaimStore) -> None:
        self._claims = claims

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        return await self._claims.claim(scope, key, fingerprint, entry_id)

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        return await self._claims.wait(scope, key, timeout_s)

    async def finish(self, entry_id: str, payload: bytes) -> None:
        await self._claims.finish(entry_id, payload)

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        return await self._claims.abandon(entry_id, payload)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_kept_is_what_was_sent_byte_for_byte(
    open_server: Any, path: str, stream: bool
) -> None:
    body = body_for(path, stream=stream)
    async with open_server(FakeUpstream(reply_events("one", "two"))) as server:
        first = await server.client.post(path, json=body, headers=KEY)
        again = await server.client.post(path, json=body, headers=KEY)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_claim_of_unknown_outcome_is_taken_back(open_server: Any, eventually: Any) -> None:
    class Unanswered(WrappedClaims):
        is_down = True

        async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
            found = await super().claim(scope, key, fingerprint, entry_id)
            if self.is_down:
                raise StoreError("The commit was not answered.")
            return found

        async def abandon(self, entry_id: str, payload: bytes) -> bool:
            if self.is_down:
                self.is_down = False
                raise StoreError("Still down.")
            return await super().abandon(entry_id, payload)

    async with open_server(wrap_claims=Unanswered) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (503, 200)
    assert len(server.upstream.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_cannot_be_recorded_is_sent_and_recorded_later(
    open_server: Any, stream: bool
) -> None:
    tried: list[str] = []

    class Full(WrappedClaims):
        async def finish(self, entry_id: str, payload: bytes) -> None:
            tried.append(entry_id)
            if len(tried) < 3:
                raise StoreError("No space is left.")
            await super().finish(entry_id, payload)

    body = {**CHAT, "stream": stream}
    async with open_server(wrap_claims=Full) as server:
        first = await server.client.post(PATH, json=body, headers=KEY)
        again = await server.client.post(PATH, json=body, headers=KEY)
    assert first.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(tried) == 3
    assert len(server.upstream.calls) == 1


async def test_a_fault_of_ours_settles_the_key_and_is_told(open_server: Any) -> None:
    upstream = FakeUpstream([RuntimeError("a fault")], reply_events("one"))
    async with open_server(upstream) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (500, 200)


async def test_a_call_that_the_drain_cuts_is_recorded_as_it_was_told(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, first, *rest = reply_events("one", "two")
    body = {**CHAT, "stream": True}
    async with open_server(FakeUpstream([started, first, gate, *rest])) as server:
        asking = asyncio.create_task(server.client.post(PATH, json=body, headers=KEY))
        await gate.reached.wait()
        await server.idempotency.drain(0.0)
        reply = await asking
        again = await server.client.post(PATH, json=body, headers=KEY)
        assert server.ledger.entries[0].outcome == "cancelled"
    assert '"content":"one"' in reply.text
    assert "The gateway was stopped in the middle of this call" in reply.text
    assert again.content == reply.content
    assert len(server.upstream.calls) == 1


async def test_a_drain_frees_the_key_of_what_was_never_sent(open_server: Any, gate: Any) -> None:
    async with open_server(FakeUpstream([gate], reply_events("one"))) as server:
        asking = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=KEY))
        await gate.reached.wait()
        await server.idempotency.drain(0.0)
        reply = await asking
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert again.status_code == 200


async def test_a_drain_waits_for_calls_whose_clients_have_gone(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        await ask_and_leave(server, gate, eventually)
        draining = asyncio.create_task(server.idempotency.drain(60.0))
        gate.open()
        await draining
        reply = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert reply.status_code == 200
    assert reply.headers["idempotent-replayed"] == "true"


class Elsewhere(WrappedClaims):
    """Another process is at it, and is killed when the test says so."""

    killed: asyncio.Event

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        return InFlight("req_elsewhere")

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        await self.killed.wait()
        return UnknownOutcome("req_elsewhere")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("is_pinged", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_outcome_names_the_entry_and_what_to_do(
    open_server: Any, eventually: Any, path: str, stream: bool, is_pinged: bool
) -> None:
    Elsewhere.killed = asyncio.Event()
    async with open_server(wrap_claims=Elsewhere) as server:
        body = body_for(path, stream=stream)
        asking = asyncio.create_task(server.client.post(path, json=body, headers=KEY))
        await eventually(lambda: server.listener.in_flight == 1)
        if stream:
            await eventually(lambda: server.keep_alive.streams)
        if is_pinged:
            server.keep_alive.send_pings(server.listener.now_s + 10)
        Elsewhere.killed.set()
        reply: httpx.Response = await asking
        again = await server.client.post(path, json=body, headers=KEY)
    assert again.status_code == 409
    assert again.headers["x-should-retry"] == "false"
    assert again.headers["x-devflow-request-id"] == "req_elsewhere"
    for text in (reply.text, again.text):
        assert "outcome_unknown" in text
        assert "`devflow ledger export` shows it as entry req_elsewhere" in text
        assert "ask with another key" in text
    if stream and is_pinged:
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
        assert "data: {" in reply.text
    else:
        assert (reply.status_code, reply.content) == (409, again.content)


async def test_a_call_without_a_client_keeps_its_secrets_masked_and_its_bytes_counted(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    secret = "sk-or-v1-of-a-caller-who-has-left"
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        headers = {**KEY, "x-openrouter-key": secret}
        leaving = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=headers))
        await gate.reached.wait()
        leaving.cancel()
        await eventually(lambda: server.listener.in_flight == 0)
        assert secret in KNOWN_SECRETS._uses
        assert server.listener.held.total > 0  # nor is its body let go
        assert secret not in mask(f"it was {secret}")
        gate.open()
        await server.idempotency.drain(60.0)
        assert secret not in KNOWN_SECRETS._uses
        assert server.listener.held.total == 0
