"""Every kind of fault, over a real socket and read byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from devflow_sandbox import Sandbox

Body = dict[str, Any]
Client = Callable[..., httpx.AsyncClient]
Events = Callable[[str], list[dict[str, Any]]]
PATH = "/api/v1/chat/completions"


def script(then: dict[str, Any], *, billed: str = "provider", **when: Any) -> dict[str, Any]:
    return {"faults": [{"id": "f", "when": when, "then": then, "billed": billed}]}


def tool_calls(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pieces of tool calls in the order in which they came."""
    calls: list[dict[str, Any]] = []
    for one in sent:
        calls += one["choices"][0]["delta"].get("tool_calls", [])
    return calls


async def raw(sandbox: Sandbox, chat_body: Body, *, max_bytes: int | None = None) -> bytes:
    """Everything that the server sends for one request until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rsplit(":")[-1]))
    body = orjson.dumps(chat_body)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.api_key}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    received = b""
    try:
        async with asyncio.timeout(60):
            while part := await reader.read(1 << 20):
                received += part
                if max_bytes is not None and len(received) >= max_bytes:
                    break
    except ConnectionResetError:
        received += b"<reset>"
    finally:
        writer.close()
    return received


def body_of(received: bytes) -> bytes:
    """The body with the chunks put together."""
    _, _, body = received.partition(b"\r\n\r\n")
    out = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if size == b"0" or not size:
            break
        length = int(size, 16)
        out, body = out + body[:length], body[length + 2 :]
    return out


async def test_u01_refused_connections_for_a_while(chat_body: Body, loop_clock: Any) -> None:
    async with Sandbox(faults=script({"kind": "refuse", "for_s": 30}, times=1)) as sandbox:
        assert await raw(sandbox, chat_body) == b"<reset>"
        with pytest.raises(ConnectionRefusedError):
            await raw(sandbox, chat_body)
        took_s = await loop_clock.run_until(lambda: sandbox._server is not None, step_s=1.0)
        assert took_s >= 30
        assert (await raw(sandbox, chat_body)).startswith(b"HTTP/1.1 200")
    assert [one["outcome"] for one in sandbox.bill()["calls"]] == ["cut", "completed"]


async def test_leaving_while_connections_are_refused_ends_the_wait(chat_body: Body) -> None:
    async with Sandbox(faults=script({"kind": "refuse", "for_s": 60})) as sandbox:
        await raw(sandbox, chat_body)


@pytest.mark.parametrize(("how", "received"), [("reset", b"<reset>"), ("close", b"")])
async def test_u02_dropped_before_the_head(chat_body: Body, how: str, received: bytes) -> None:
    async with Sandbox(faults=script({"kind": "drop", "how": how})) as sandbox:
        assert await raw(sandbox, chat_body) == received
    (call,) = sandbox.bill()["calls"]
    assert (call["outcome"], call["fault"]) == ("cut", "f")
    assert call["cost_usd"] != "0"  # a reply that is not streamed cannot be cancelled


async def test_u02_stale_connection_is_reset_when_it_is_used_again(chat_body: Body) -> None:
    async with (
        Sandbox(faults=script({"kind": "stale"}, nth=1)) as sandbox,
        httpx.AsyncClient(
            headers={"authorization": f"Bearer {sandbox.api_key}"}, timeout=60
        ) as http,
    ):
        url = f"{sandbox.base_url}/chat/completions"
        assert (await http.post(url, json=chat_body)).status_code == 200
        with pytest.raises(httpx.TransportError):
            await http.post(url, json=chat_body)
        assert (await http.post(url, json=chat_body)).status_code == 200
    assert len(sandbox.bill()["calls"]) == 2  # the second was never read


async def test_u03_slow_and_dribbled_heads(chat_body: Body, loop_clock: Any) -> None:
    then = {"kind": "slow", "head_s": 0.05, "dribble_s": 0.001, "ttft_s": 0.05}
    async with Sandbox(faults=script(then)) as sandbox:
        asking = asyncio.ensure_future(raw(sandbox, chat_body))
        assert await loop_clock.run_until(asking.done, step_s=0.001) > 0.3
        received = await asking
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_u04_gaps_between_events(chat_body: Body, events: Events, loop_clock: Any) -> None:
    async with Sandbox(faults=script({"kind": "slow", "gap_s": 0.002})) as sandbox:
        asking = asyncio.ensure_future(raw(sandbox, {**chat_body, "stream": True}))
        assert await loop_clock.run_until(asking.done, step_s=0.002) > 0.1
        body = body_of(await asking)
    assert body.endswith(b"data: [DONE]\n\n")


async def test_u04_stall_sends_comments_only_and_goes_on(chat_body: Body) -> None:
    then = {"kind": "stall", "at": {"event": 3}, "for_s": 0.05, "comment_every_s": 0.01}
    async with Sandbox(faults=script(then)) as sandbox:
        body = body_of(await raw(sandbox, {**chat_body, "stream": True}))
    assert body.count(b": OPENROUTER PROCESSING\n\n" * 5) == 1
    assert body.endswith(b"data: [DONE]\n\n")


async def test_u04_endless_stall_is_cancelled_by_the_client(
    chat_body: Body, eventually: Any
) -> None:
    then = {"kind": "stall", "at": {"event": 5}}
    async with Sandbox(faults=script(then)) as sandbox:
        await raw(sandbox, {**chat_body, "stream": True}, max_bytes=1200)
        await eventually(lambda: sandbox.bill()["running"] == 0)
        (call,) = sandbox.bill()["calls"]
    assert call["outcome"] == "cancelled"
    assert 0 < call["completion_tokens"] < 20


@pytest.mark.parametrize("byte", [0, 1, 700, 1333])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_u05_cut_at_any_byte(chat_body: Body, byte: int, how: str) -> None:
    plain = Sandbox()
    then = {"kind": "drop", "at": {"byte": byte}, "how": how}
    async with plain, Sandbox(faults=script(then)) as sandbox:
        expected = body_of(await raw(plain, {**chat_body, "stream": True}))[:byte]
        received = (await raw(sandbox, {**chat_body, "stream": True})).removesuffix(b"<reset>")
    assert len(body_of(received)) == len(expected) == byte
    assert not received.endswith(b"0\r\n\r\n")


async def test_u05_content_length_promises_more(chat_body: Body) -> None:
    then = {"kind": "truncate", "framing": "length"}
    async with Sandbox(faults=script(then)) as sandbox:
        head, _, body = (await raw(sandbox, chat_body)).partition(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_u06_clean_end_without_done(chat_body: Body, framing: str) -> None:
    then = {"kind": "truncate", "framing": framing, "at": {"event": 4}}
    async with Sandbox(faults=script(then)) as sandbox:
        received = await raw(sandbox, {**chat_body, "stream": True})
        (call,) = sandbox.bill()["calls"]
    assert received.count(b"data: ") == 4
    assert received.endswith(b"0\r\n\r\n" if framing == "chunked" else b"}\n\n")
    assert (call["outcome"], call["completion_tokens"] > 0) == ("cut", True)


async def test_u06_truncated_gzip(chat_body: Body) -> None:
    then = {"kind": "truncate", "framing": "gzip"}
    async with Sandbox(faults=script(then)) as sandbox:
        head, _, body = (await raw(sandbox, chat_body)).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    with pytest.raises(EOFError):
        gzip.decompress(body)


async def test_u07_done_and_last_line_break_are_missing(chat_body: Body) -> None:
    then = {"kind": "omit", "parts": ["done", "last_newline"]}
    async with Sandbox(faults=script(then)) as sandbox:
        body = body_of(await raw(sandbox, {**chat_body, "stream": True}))
        (call,) = sandbox.bill()["calls"]
    assert b'"usage":' in body
    assert body.endswith(b"}}")
    assert call["outcome"] == "completed"


@pytest.mark.parametrize("form", ["chunk", "no_finish", "string_code", "bare"])
async def test_u08_error_in_the_middle_of_a_stream(
    chat_body: Body, client: Client, events: Events, form: str
) -> None:
    then = {"kind": "error_event", "at": {"event": 2}, "form": form, "code": 503, "done": True}
    sandbox = Sandbox(faults=script(then))
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json={**chat_body, "stream": True})
    sent = events(reply.text)
    error = sent[2]["error"]
    assert (reply.status_code, len(sent)) == (200, 3)
    assert error["code"] == ("server_error" if form == "string_code" else 503)
    assert ("choices" in sent[2]) is (form != "bare")
    assert sandbox.bill()["total_usd"] == "0"
    assert sandbox.bill()["calls"][0]["outcome"] == "failed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["messages", "responses", "chat/completions"])
async def test_u08_error_inside_a_200_in_every_dialect(
    client: Client, path: str, *, stream: bool
) -> None:
    sandbox = Sandbox(faults=script({"kind": "error_event", "at": {"event": 0}}))
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "messages": [{"role": "user", "content": "hi"}],
        "input": "hi",
        "max_tokens": 99,
        "stream": stream,
    }
    async with client(sandbox) as http:
        reply = await http.post(path, json=body)
    assert reply.status_code == 200
    assert "Provider returned error" in reply.text
    assert (": error\n" in reply.text) is (stream and path == "messages")


@pytest.mark.parametrize("stream", [False, True])
async def test_u09_usage_and_generation_id_are_missing(
    chat_body: Body, client: Client, *, stream: bool
) -> None:
    then = {"kind": "omit", "parts": ["usage", "generation_id"]}
    sandbox = Sandbox(faults=script(then))
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json={**chat_body, "stream": stream})
    assert '"usage"' not in reply.text
    assert "x-generation-id" not in reply.headers
    assert sandbox.bill()["total_usd"] != "0"


async def test_finish_reason_and_cost_can_be_left_out(chat_body: Body, client: Client) -> None:
    then = {"kind": "omit", "parts": ["finish", "cost"]}
    async with client(Sandbox(faults=script(then))) as http:
        chat = (await http.post("chat/completions", json=chat_body)).json()
        message = (await http.post("messages", json={**chat_body, "stream": True})).text
    assert chat["choices"][0]["finish_reason"] is None
    assert "cost" not in chat["usage"]
    assert "message_delta" not in message


@pytest.mark.parametrize(
    ("preset", "is_json"),
    [
        ("malformed", False),
        ("html", False),
        ("empty", False),
        ("choices_null", True),
        ("choices_empty", True),
    ],
)
async def test_u10_other_bodies(
    chat_body: Body, client: Client, preset: str, *, is_json: bool
) -> None:
    sandbox = Sandbox(faults=script({"kind": "body", "preset": preset}))
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json=chat_body)
    if is_json:
        assert not reply.json()["choices"]
    else:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            reply.json()


async def test_u10_any_text_with_any_type_and_status(chat_body: Body, client: Client) -> None:
    then = {"kind": "body", "text": "error code: 502", "content_type": "text/plain", "status": 502}
    async with client(Sandbox(faults=script(then))) as http:
        reply = await http.post("chat/completions", json=chat_body)
    assert (reply.status_code, reply.text) == (502, "error code: 502")
    assert reply.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("value", ["NaN", "-5", "1e308", "99999999999999999999", '"many"', "null"])
async def test_u11_usage_that_lies(chat_body: Body, client: Client, value: str) -> None:
    then = {"kind": "usage", "values": {"cost": value, "prompt_tokens": value}}
    async with client(Sandbox(faults=script(then))) as http:
        reply_text = (await http.post("chat/completions", json=chat_body)).text
        stream = (await http.post("chat/completions", json={**chat_body, "stream": True})).text
    for text in (reply_text, stream):
        assert f'"cost":{value},' in text
        assert f'"prompt_tokens":{value},' in text


@pytest.mark.parametrize("header", ["7", "-5", "1e20", "inf", "nan", "soon", "٣", ""])
async def test_u12_retry_after_is_sent_as_it_is(chat_body: Body, header: str) -> None:
    then = {"kind": "status", "preset": "rate_limited", "retry_after": header}
    async with Sandbox(faults=script(then)) as sandbox:
        received = await raw(sandbox, chat_body)
    assert received.startswith(b"HTTP/1.1 429 Too Many Requests")
    assert b"Retry-After: " + header.encode("latin-1", "replace") + b"\r\n" in received


@pytest.mark.parametrize(
    ("preset", "status", "source"),
    [
        ("no_credits", 402, "openrouter_credits"),
        ("not_affordable", 402, "openrouter_credits"),
        ("in_flight", 402, "openrouter_in_flight_budget"),
        ("key_limit", 403, None),
        ("rate_limited", 429, "upstream_provider_shared_pool"),
        ("free_daily", 429, "openrouter_free_tier_daily"),
        ("free_per_minute", 429, "openrouter_free_tier_per_minute"),
        ("moderated", 403, None),
        ("no_tool_endpoints", 404, None),
        ("context_too_long", 400, None),
    ],
)
async def test_u13_u14_openrouters_own_errors(
    chat_body: Body, client: Client, preset: str, status: int, source: str | None
) -> None:
    sandbox = Sandbox(faults=script({"kind": "status", "preset": preset}))
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json=chat_body)
    assert reply.status_code == reply.json()["error"]["code"] == status
    assert reply.json()["error"].get("metadata", {}).get("limit_source") == source
    (call,) = sandbox.bill()["calls"]
    assert (call["status"], call["outcome"], call["cost_usd"]) == (status, "failed", "0")


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 408, 413, 422, 500, 502, 503, 504, 524, 529]
)
async def test_u14_u15_any_status(chat_body: Body, client: Client, status: int) -> None:
    then = {"kind": "status", "status": status, "error_type": "server", "headers": {"X-A": "b"}}
    async with client(Sandbox(faults=script(then))) as http:
        reply = await http.post("chat/completions", json=chat_body)
    assert reply.status_code == status
    assert reply.headers["x-a"] == "b"
    assert reply.json()["error"]["metadata"]["error_type"] == "server"


async def test_u16_huge_bodies_lines_and_headers(chat_body: Body) -> None:
    for what in ("body", "line"):
        then = {"kind": "flood", "what": what, "size": 3_000_000}
        async with Sandbox(faults=script(then)) as sandbox:
            received = await raw(sandbox, {**chat_body, "stream": True})
        assert len(body_of(received)) > 3_000_000, what
    async with Sandbox(faults=script({"kind": "flood", "what": "header", "size": 200_000})) as one:
        assert b"X-Flood: " + b"x" * 200_000 in await raw(one, chat_body)
    async with Sandbox(faults=script({"kind": "flood", "what": "headers", "size": 5000})) as one:
        assert (await raw(one, chat_body)).count(b"X-Flood-") == 5000


async def test_u16_gzip_bomb_is_small_on_the_wire(chat_body: Body) -> None:
    then = {"kind": "flood", "what": "gzip", "size": 20_000_000}
    async with Sandbox(faults=script(then)) as sandbox:
        body = body_of(await raw(sandbox, chat_body))
    assert len(body) < 100_000
    assert len(zlib.decompress(body, 31)) >= 20_000_000


@pytest.mark.parametrize(
    "form",
    [
        "bytewise",
        "split_crlf",
        "crlf",
        "cr_only",
        "bom",
        "no_space",
        "multi_line",
        "comments",
        "line_separator",
        "bad_utf8",
        "after_done",
        "event_names",
        "ids_and_retry",
    ],
)
async def test_u17_other_framings_of_the_same_events(chat_body: Body, form: str) -> None:
    async with Sandbox(faults=script({"kind": "framing", "form": form})) as sandbox:
        body = body_of(await raw(sandbox, {**chat_body, "stream": True}))
    marks = {
        "split_crlf": b"\r\n\r\n",
        "crlf": b"\r\n\r\n",
        "cr_only": b"}\r\rdata:",
        "bom": b"\xef\xbb\xbf:",
        "no_space": b'data:{"id"',
        "multi_line": b"data: {\ndata: ",
        "comments": b"\n:\n",
        "line_separator": b"\xe2\x80\xa8",
        "bad_utf8": b"\xff\xfe",
        "after_done": b"too late",
        "event_names": b"event: message\ndata: ",
        "ids_and_retry": b"retry: 10\n",
        "bytewise": b"data: [DONE]\n\n",
    }
    assert marks[form] in body


@pytest.mark.parametrize("form", ["duplicate", "gap", "split", "ids", "object"])
async def test_u18_tool_indexes_that_lie(client: Client, events: Events, form: str) -> None:
    turns: list[dict[str, Any]] = [
        {
            "reply": {
                "tool_calls": [
                    {"name": "one", "arguments": {"path": "a.py"}},
                    {"name": "two", "arguments": {}},
                ]
            }
        }
    ]
    sandbox = Sandbox(faults=script({"kind": "tool_index", "form": form}), script={"turns": turns})
    tools = [{"type": "function", "function": {"name": name}} for name in ("one", "two")]
    chat_body = {
        "model": "openai/gpt-5-mini",
        "messages": [{"role": "user", "content": "go"}],
        "tools": tools,
        "stream": True,
    }
    async with client(sandbox) as http:
        sent = events((await http.post("chat/completions", json=chat_body)).text)
    calls = tool_calls(sent)
    indexes = {call["index"] for call in calls}
    assert indexes == {"duplicate": {0}, "gap": {2, 5}}.get(form, {0, 1})
    if form == "ids":
        assert len({call["id"] for call in calls}) == len(calls) > 2
    if form == "object":
        arguments = [call["function"]["arguments"] for call in calls]
        assert arguments == [{"path": "a.py"}, {}]
    if form == "split":
        assert max(len(call["function"].get("arguments", "")) for call in calls) == 1


@pytest.mark.parametrize(("form", "told"), [("finish", 2), ("each", None)])
async def test_u11_usage_comes_early(
    chat_body: Body, client: Client, events: Events, form: str, told: int | None
) -> None:
    sandbox = Sandbox(faults=script({"kind": "early_usage", "form": form}))
    async with client(sandbox) as http:
        body = chat_body | {"stream": True}
        sent = events((await http.post("chat/completions", json=body)).text)
    with_usage = [one for one in sent if "usage" in one]
    assert len(with_usage) == (told or len(sent))
    assert ["cost" in one["usage"] for one in with_usage][-2:] == [False, True]
    assert sent[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("path", "opening"), [("messages", "message_start"), ("responses", "response.created")]
)
async def test_u08_an_error_right_after_the_opening_event(
    chat_body: Body, client: Client, events: Events, path: str, opening: str
) -> None:
    sandbox = Sandbox(faults=script({"kind": "error_event", "at": {"event": 1}}))
    body = chat_body | {"stream": True, "max_tokens": 50, "input": "Hello"}
    async with client(sandbox) as http:
        sent = events((await http.post(path, json=body)).text)
    assert [one["type"] for one in sent] in ([opening, "error"], [opening, "response.failed"])


async def test_u19_redirect(chat_body: Body, client: Client) -> None:
    async with client(Sandbox(faults=script({"kind": "redirect"}))) as http:
        reply = await http.post("chat/completions", json=chat_body)
    assert (reply.status_code, reply.headers["location"][:22]) == (307, "http://169.254.169.254")


@pytest.mark.parametrize(
    ("preset", "received"),
    [
        ("cl_te", b"Content-Length: 4\r\nTransfer-Encoding"),
        ("bad_chunk", b"\r\n\r\nzz\r\n"),
        ("header_injection", b"a\rSet-Cookie"),
        ("status_999", b"HTTP/1.1 999"),
        ("ssh_banner", b"SSH-2.0"),
    ],
)
async def test_u20_bytes_that_are_not_http(chat_body: Body, preset: str, received: bytes) -> None:
    async with Sandbox(faults=script({"kind": "raw", "preset": preset})) as sandbox:
        assert received in await raw(sandbox, chat_body)


async def test_u20_any_bytes(chat_body: Body) -> None:
    async with Sandbox(faults=script({"kind": "raw", "text": "220 mail ÿ"})) as sandbox:
        assert await raw(sandbox, chat_body) == b"220 mail \xff"


@pytest.mark.parametrize("gap_s", [0, 0.0001])
async def test_u21_endless_stream(chat_body: Body, gap_s: float, eventually: Any) -> None:
    then = {"kind": "endless", "gap_s": gap_s}
    async with Sandbox(faults=script(then)) as sandbox:
        received = await raw(sandbox, {**chat_body, "stream": True}, max_bytes=200_000)
        assert len(received) >= 200_000
        await eventually(lambda: sandbox.bill()["running"] == 0)
    assert sandbox.bill()["calls"][0]["outcome"] == "cancelled"


@pytest.mark.parametrize(
    ("provider", "billed", "is_whole"),
    [
        ("anthropic", "provider", False),
        ("amazon-bedrock", "provider", True),
        ("anthropic", "full", True),
    ],
)
async def test_u22_cancellation_costs_what_the_provider_makes_of_it(
    chat_body: Body, client: Client, provider: str, billed: str, *, is_whole: bool
) -> None:
    sandbox = Sandbox(faults=script({"kind": "billing"}, billed=billed))
    body = {**chat_body, "stream": True, "provider": {"only": [provider]}}
    async with client(sandbox) as http:
        await http.post("chat/completions", json=body)
        async with http.stream("POST", "chat/completions", json=body) as reply:
            async for part in reply.aiter_raw():
                if b"data:" in part:
                    break
    complete, cancelled = sandbox.bill()["calls"]
    assert cancelled["outcome"] == "cancelled"
    assert (cancelled["cost_usd"] == complete["cost_usd"]) is is_whole


async def test_faults_strike_other_endpoints_too(client: Client) -> None:
    faults = script({"kind": "status", "status": 503}, path="/models", times=1)
    async with client(Sandbox(faults=faults)) as http:
        assert (await http.get("models")).status_code == 503
        assert (await http.get("models")).status_code == 200
        slow = script({"kind": "truncate", "framing": "length"}, path="/key")
        assert (await http.put("http://x/sandbox/faults", json=slow)).json() == {"faults": 1}
        assert (await http.get("http://x/sandbox/faults")).json()["faults"][0]["when"] == {
            "path": "/key"
        }
        with pytest.raises(httpx.ReadError):
            await http.get("key")
