"""What happens below HTTP: sockets that refuse, vanish, stall, or speak nonsense."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, InvalidRequest, NotSent
from devflow_core.events import Finished, TextDelta
from devflow_core.request import ChatRequest
from devflow_core.testing import a_request
from devflow_openrouter.testing import (
    SSE_HEAD,
    GatewayHarness,
    ScriptedUpstream,
    chunked_body,
    final_events,
    http_reply,
    sse_event,
    streamed_reply,
    text_event,
)
from devflow_upstream import Http1Transport, HttpRequest, ReplyLimits

SAMPLES = Path(__file__).parent / "samples"
"""A certificate for `localhost` that signs itself, made for these tests by `openssl req`."""
GET = HttpRequest(method="GET", path="/models", headers={})


def soon() -> float:
    """A deadline that is not meant to pass."""
    return asyncio.get_running_loop().time() + 60.0


async def test_a_refused_connection_is_not_sent_and_costs_nothing(harness: GatewayHarness) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = await harness(base_url=f"http://127.0.0.1:{port}/api/v1")
    assert outcome.codes == ["upstream_unreachable"] * 3
    assert {one.cost_status for one in outcome.entry.attempts} == {"void"}


async def test_a_name_that_cannot_be_resolved_is_asked_for_once(harness: GatewayHarness) -> None:
    outcome = await harness(base_url="https://no-such-host.invalid/api/v1")
    assert outcome.codes == ["upstream_unreachable"]
    assert "cannot be resolved" in str(outcome.error)


async def test_a_self_signed_certificate_is_refused_before_a_byte_is_sent(
    harness: GatewayHarness,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SAMPLES / "self_signed.pem", SAMPLES / "self_signed.key")
    async with ScriptedUpstream().add_script(streamed_reply()).serve(context) as upstream:
        outcome = await harness(base_url=f"https://localhost:{upstream.port}/api/v1")
        assert outcome.codes == ["upstream_unreachable"]
        assert "not trusted" in str(outcome.error)
        assert upstream.requests == []


async def test_a_certificate_for_another_name_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SAMPLES / "self_signed.pem", SAMPLES / "self_signed.key")
    trusting = ssl.create_default_context(cafile=SAMPLES / "self_signed.pem")
    async with ScriptedUpstream().add_script(http_reply(b"{}")).serve(context) as upstream:
        transport = Http1Transport(f"https://127.0.0.2:{upstream.port}", tls=trusting)
        # a loopback address that the certificate does not name, or that this system does not have
        with pytest.raises(NotSent):
            await transport.start(GET, deadline_s=soon())
        assert upstream.requests == []


async def test_a_trusted_certificate_carries_calls_and_keeps_the_connection() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SAMPLES / "self_signed.pem", SAMPLES / "self_signed.key")
    trusting = ssl.create_default_context(cafile=SAMPLES / "self_signed.pem")
    async with ScriptedUpstream().add_script(http_reply(b"{}")).serve(context) as upstream:
        transport = Http1Transport(f"https://localhost:{upstream.port}", tls=trusting)
        for _ in range(3):
            exchange = await transport.start(GET, deadline_s=soon())
            assert await exchange.read() == b"{}"
            assert await exchange.read() == b""
            await exchange.close(is_complete=True)
        assert upstream.accepted_connections == 1
        await transport.aclose()
        assert transport.open_connections == 0


async def test_plain_http_on_a_tls_port_is_no_reason_to_speak_plainly(
    upstream: ScriptedUpstream,
) -> None:
    upstream.add_script(streamed_reply())
    transport = Http1Transport(f"https://127.0.0.1:{upstream.port}", connect_timeout_s=0.3)
    with pytest.raises(NotSent):
        await transport.start(GET, deadline_s=soon())
    assert upstream.requests == []


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_fresh_connection_that_ends_without_a_reply_may_have_been_accepted(
    harness: GatewayHarness, upstream: ScriptedUpstream, how: str
) -> None:
    upstream.add_script("close" if how == "close" else "reset")
    outcome = await harness()
    assert outcome.codes == ["upstream_disconnected"] * 2
    assert len(upstream.requests) == 2
    assert outcome.attempt.cost_status == "estimated"


async def test_a_stale_connection_is_replaced_once_by_an_attempt_of_its_own(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply()).add_script("reset").add_script(streamed_reply("again"))
    async with harness.build_gateway() as gateway:
        await gateway.complete(a_request())
        second = await gateway.complete(a_request())
    assert second.text == "again"
    # what the closed connection had carried may have been billed: it stays in the books
    lost, answered = second.entry.attempts
    assert (lost.cost_status, lost.error_code) == ("estimated", "upstream_disconnected")
    assert answered.outcome == "succeeded"
    assert len(upstream.requests) == 3


async def test_what_was_resent_is_not_sent_a_third_time(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply()).add_script("reset")
    async with harness.build_gateway() as gateway:
        await gateway.complete(a_request())
        with pytest.raises(Exception, match="without a reply"):
            await gateway.complete(a_request())
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((60.0,), id="silence"),
        pytest.param(tuple(x for b in SSE_HEAD[:40] for x in (bytes([b]), 0.02)), id="dribbled"),
        pytest.param((SSE_HEAD, 60.0), id="head_then_silence"),
        pytest.param((SSE_HEAD, *[b"4\r\n: x\n\r\n", 0.05] * 40), id="comments_for_ever"),
    ],
)
async def test_the_first_event_has_a_deadline(
    harness: GatewayHarness,
    upstream: ScriptedUpstream,
    loop_clock: Any,
    steps: tuple[bytes | float, ...],
) -> None:
    upstream.add_script(*steps)
    pending = asyncio.ensure_future(harness(first_token_timeout_s=0.3, max_retries=1))
    await loop_clock.until(upstream.request_received.is_set)
    took_s = await loop_clock.run_until(pending.done, step_s=0.01)
    outcome = await pending
    assert outcome.codes == ["upstream_timeout"]
    assert 0.29 < took_s < 0.8
    assert outcome.attempt.cost_status == "estimated"


async def test_comments_do_not_count_as_progress(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    comments: list[bytes | float] = [chunked_body(b": still here\n\n", end=b""), 0.05]
    upstream.add_script(SSE_HEAD + chunked_body(text_event("Hel"), end=b""), *comments * 40)
    pending = asyncio.ensure_future(harness(idle_timeout_s=0.3))
    await loop_clock.until(upstream.request_received.is_set)
    took_s = await loop_clock.run_until(pending.done, step_s=0.01)
    outcome = await pending
    assert outcome.codes == ["upstream_timeout"]
    assert 0.29 < took_s < 0.8
    assert outcome.attempt.usage.output_tokens == 2  # three letters, on the upper side
    assert outcome.attempt.cost_status == "estimated"


async def test_events_that_come_slowly_are_progress(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    steps: list[bytes | float] = [SSE_HEAD]
    for word in "abcdefgh":
        steps += [chunked_body(text_event(word), end=b""), 0.1]
    upstream.add_script(*steps, chunked_body(text_event("", "stop"), final_events()))
    received = ""
    async with (
        harness.build_gateway(idle_timeout_s=0.3, first_token_timeout_s=0.3) as gateway,
        gateway.stream(a_request()) as events,
    ):
        async for one in events:
            if isinstance(one, TextDelta):
                received += one.text
                loop_clock.advance(0.1)  # until the next is sent
    assert received == "abcdefgh"


async def test_an_endless_reply_ends_at_the_total_deadline(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    steps: list[bytes | float] = [chunked_body(text_event("x"), end=b""), 2.0]
    upstream.add_script(SSE_HEAD, *steps * 1_000)
    pending = asyncio.ensure_future(harness(total_timeout_s=600.0))
    await loop_clock.until(upstream.request_received.is_set)
    took_s = await loop_clock.run_until(pending.done, step_s=2.0)
    assert (await pending).codes == ["upstream_timeout"]
    assert 500 < took_s < 700  # what has really passed counts too


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="ssh"),
        pytest.param(b"HTTP/1.1 999 X\r\n\r\n", id="status_999"),
        pytest.param(b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", id="upgrade"),
        pytest.param(
            b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length_and_chunked",
        ),
        pytest.param(b"HTTP/1.1 200 X\r\nContent-Length: 1, 2\r\n\r\nab", id="two_lengths"),
        pytest.param(b"HTTP/1.1 200 X\r\nContent-Length: +2\r\n\r\nab", id="signed_length"),
        pytest.param(b"HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\n", id="coding"),
        pytest.param(b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\n\r\n", id="gzip"),
        pytest.param(b"HTTP/1.1 200 X\r\nA: b\rC: d\r\n\r\n", id="cr_in_header"),
        pytest.param(b"HTTP/1.1 200 X\r\nA: b\r\n folded\r\n\r\n", id="folded"),
        pytest.param(b"HTTP/1.1 200 X\r\nNo colon\r\n\r\n", id="no_colon"),
        pytest.param(SSE_HEAD + b"zz\r\n", id="chunk_size"),
        pytest.param(SSE_HEAD + b"1\r\nabc\r\n", id="chunk_too_long"),
        pytest.param(SSE_HEAD + b"-1\r\n", id="chunk_negative"),
    ],
)
async def test_broken_http_is_a_protocol_error_and_ends_the_connection(
    harness: GatewayHarness, upstream: ScriptedUpstream, bad: bytes
) -> None:
    upstream.add_script(bad, 60.0)
    outcome = await harness(max_retries=1)
    assert outcome.codes == ["upstream_protocol_error"]
    await asyncio.wait_for(upstream.client_disconnected.wait(), 60)


async def test_bytes_after_a_reply_are_no_second_reply(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("one") + streamed_reply("two"))
    async with harness.build_gateway() as gateway:
        assert (await gateway.complete(a_request())).text == "one"
        assert (await gateway.complete(a_request())).text == "one"
    assert upstream.accepted_connections == 2


@pytest.mark.parametrize(
    "big",
    [
        pytest.param(http_reply(b"", headers={"X": "x" * 200_000}), id="header"),
        pytest.param(http_reply(b"", headers={f"X-{n}": "x" for n in range(5000)}), id="headers"),
        pytest.param(b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n", id="length"),
        pytest.param(SSE_HEAD + b"7fffffff\r\n", id="chunk"),
        pytest.param(SSE_HEAD + chunked_body(b"data: " + b"x" * (1 << 21), end=b""), id="line"),
    ],
)
async def test_what_is_too_large_is_cut(
    harness: GatewayHarness, upstream: ScriptedUpstream, big: bytes
) -> None:
    upstream.add_script(big, 60.0)
    outcome = await harness()
    assert outcome.codes == ["upstream_reply_too_large"]


async def test_a_slow_reader_holds_a_bounded_part_of_the_reply(eventually: Any) -> None:
    async with ScriptedUpstream().serve() as upstream:
        size = 8 << 20
        upstream.add_script(http_reply(b"x" * size))
        transport = Http1Transport(upstream.base_url, limits=ReplyLimits(max_body_bytes=2 * size))
        exchange = await transport.start(GET, deadline_s=soon())
        (connection,) = transport._connections
        await eventually(lambda: connection._is_paused)
        first = await exchange.read()
        assert len(first) < 1 << 20
        remaining = 0
        while piece := await exchange.read():
            remaining += len(piece)
        assert len(first) + remaining == size
        await exchange.close(is_complete=True)
        await transport.aclose()


async def test_a_caller_who_leaves_hangs_up_at_once_and_is_booked(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(SSE_HEAD + chunked_body(text_event("Hel"), end=b""), 30.0)
    async with harness.build_gateway() as gateway:
        async with gateway.stream(a_request()) as events:
            async for _ in events:
                break
        await asyncio.wait_for(upstream.client_disconnected.wait(), 60)
    entry = harness.book.ledger.entries[-1]
    harness.check_invariants(entry)
    assert (entry.outcome, entry.attempts[0].cost_status) == ("cancelled", "estimated")


@pytest.mark.parametrize(("provider", "is_reserved"), [("Amazon Bedrock", True), ("Acme", True),
                                                       ("OpenAI", False)])  # fmt: skip
async def test_a_cancelled_call_is_booked_as_its_provider_bills(
    harness: GatewayHarness, upstream: ScriptedUpstream, provider: str, is_reserved: bool
) -> None:
    delta = {"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}
    upstream.add_script(
        SSE_HEAD + chunked_body(sse_event(provider=provider, choices=[delta]), end=b""), 30.0
    )
    async with harness.build_gateway() as gateway, gateway.stream(a_request()) as events:
        async for _ in events:
            break
    attempt = harness.book.ledger.entries[-1].attempts[0]
    assert attempt.reserved_usd is not None
    assert (attempt.cost_usd == attempt.reserved_usd) is is_reserved
    assert attempt.cost_usd > 0


async def test_a_cancelled_task_hangs_up_before_the_head_has_come(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(30.0)
    async with harness.build_gateway() as gateway:
        pending = asyncio.ensure_future(gateway.complete(a_request()))
        await upstream.request_received.wait()
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await asyncio.wait_for(upstream.client_disconnected.wait(), 60)
    entry = harness.book.ledger.entries[-1]
    assert (entry.outcome, entry.attempts[0].cost_status) == ("cancelled", "estimated")


async def test_the_end_of_the_framing_may_come_after_the_end_of_the_reply(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    late = chunked_body(text_event("Hello"), text_event("", "stop"), final_events(), end=b"")
    upstream.add_script(SSE_HEAD + late, 0.1, b"0\r\n\r\n")
    async with harness.build_gateway() as gateway:
        for _ in range(2):
            assert (await gateway.complete(a_request())).text == "Hello"
            transport: Any = gateway._transport
            assert transport._idle == []
            await loop_clock.run_until(lambda: transport._idle, step_s=0.1)  # noqa: B023 - at once
    assert upstream.accepted_connections == 1


async def test_a_connection_whose_framing_never_ends_is_dropped(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    upstream.add_script(
        SSE_HEAD
        + chunked_body(text_event("Hello"), text_event("", "stop"), final_events(), end=b""),
        30.0,
    )
    async with harness.build_gateway() as gateway:
        assert (await gateway.complete(a_request())).text == "Hello"
        took_s = await loop_clock.run_until(upstream.client_disconnected.is_set, step_s=0.05)
    assert 0.9 < took_s < 2


async def test_an_idle_connection_is_closed_when_it_speaks_or_grows_old(
    upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    upstream.add_script(http_reply(b"{}"), 0.05, b"surprise").add_script(http_reply(b"{}"), 60.0)
    transport = Http1Transport(upstream.base_url, keep_alive_s=15.0)
    took_s: list[float] = []
    for _ in range(2):
        exchange = await transport.start(GET, deadline_s=soon())
        await exchange.read()
        await exchange.close(is_complete=True)
        assert transport.open_connections == 1
        gone = loop_clock.run_until(lambda: transport.open_connections == 0, step_s=0.05)
        took_s.append(await gone)
    assert took_s[0] < 14 < took_s[1] < 20


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "☃"])
async def test_a_header_cannot_be_smuggled_in(upstream: ScriptedUpstream, value: str) -> None:
    transport = Http1Transport(upstream.base_url)
    request = HttpRequest(method="GET", path="/", headers={"X-Session-Id": value})
    with pytest.raises(InvalidRequest):
        await transport.start(request, deadline_s=soon())
    assert upstream.accepted_connections == 0


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "openrouter.ai/api/v1"])
def test_a_base_url_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        Http1Transport(url)


async def test_finished_is_the_last_event(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    async with (
        harness.build_gateway() as gateway,
        gateway.stream(ChatRequest.from_text("x")) as events,
    ):
        seen = [event async for event in events]
    assert isinstance(seen[-1], Finished)
    assert sum(isinstance(one, Finished) for one in seen) == 1
