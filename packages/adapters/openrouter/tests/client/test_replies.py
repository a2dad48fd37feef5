"""What a reply is, and what is none: every way an upstream can begin, break off and end."""

from typing import Literal

import pytest
from devflow_openrouter.testing import (
    SSE_HEAD,
    GatewayHarness,
    ScriptedUpstream,
    chunked_body,
    error_body,
    error_reply,
    final_events,
    http_reply,
    sse_event,
    streamed_reply,
    text_event,
)


async def test_a_reply_is_streamed_booked_and_the_connection_kept(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("Hel", "lo"))
    outcome = await harness()
    assert outcome.text == "Hello"
    assert str(outcome.entry.cost_usd) == "0.000064"
    assert outcome.attempt.generation_id == "gen-1780944465-body"
    assert outcome.attempt.cost_status == "settled"


@pytest.mark.parametrize(
    "ends_with",
    [
        pytest.param(chunked_body(text_event("Hel"), end=b""), id="short_chunked"),
        pytest.param(chunked_body(text_event("Hel"), end=b"5\r\nab"), id="inside_a_chunk"),
        pytest.param(chunked_body(text_event("Hel")), id="clean_end_without_finish"),
        pytest.param(
            chunked_body(text_event("Hel"), b"data: [DONE]\n\n"), id="done_without_finish"
        ),
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_cut_reply_is_never_complete(
    harness: GatewayHarness,
    upstream: ScriptedUpstream,
    ends_with: bytes,
    how: Literal["close", "reset"],
) -> None:
    upstream.add_script(SSE_HEAD + ends_with, 0.02, how)
    outcome = await harness()
    assert outcome.text is None
    assert outcome.codes == ["upstream_incomplete"]
    assert outcome.attempt.cost_status == "estimated"
    assert outcome.attempt.generation_id == "gen-1780944465-body"


async def test_a_body_until_close_is_complete_only_with_its_finish(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    upstream.add_script(head + text_event("Hel"), "close")
    upstream.add_script(head + text_event("Hel") + text_event("", "stop") + final_events(), "close")
    cut, whole = await harness(), await harness()
    assert cut.codes == ["upstream_incomplete"]
    assert whole.text == "Hel"


async def test_done_may_be_missing_when_finish_and_usage_were_seen(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    last = final_events().removesuffix(b"data: [DONE]\n\n")
    upstream.add_script(SSE_HEAD + chunked_body(text_event("Hello"), text_event("", "stop"), last))
    outcome = await harness()
    assert outcome.text == "Hello"
    assert outcome.attempt.cost_status == "settled"


async def test_no_usage_is_estimated_and_the_id_is_kept(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(
        SSE_HEAD + chunked_body(text_event("Hello"), text_event("", "stop"), b"data: [DONE]\n\n")
    )
    outcome = await harness()
    attempt = outcome.attempt
    assert outcome.text == "Hello"
    assert (attempt.cost_status, attempt.generation_id) == ("estimated", "gen-1780944465-body")
    assert attempt.cost_usd > 0


async def test_an_error_as_the_first_event_is_asked_again(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    broken = sse_event(
        error={"code": 502, "message": "x", "metadata": {"error_type": "provider_unavailable"}},
        choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    )
    upstream.add_script(SSE_HEAD + chunked_body(broken)).add_script(streamed_reply())
    outcome = await harness()
    assert outcome.codes == ["upstream_unavailable", None]
    assert outcome.text == "Hello"


async def test_an_error_inside_the_reply_ends_it_and_nobody_else_is_asked(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    broken = sse_event(
        error={"code": 429, "message": "x", "metadata": {"error_type": "rate_limit_exceeded"}},
        choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    )
    upstream.add_script(SSE_HEAD + chunked_body(text_event("Hel"), broken))
    outcome = await harness("acme/one", "acme/two")
    assert outcome.codes == ["rate_limited"]
    assert len(upstream.requests) == 1


async def test_padding_before_a_whole_json_reply_is_no_part_of_it(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    body = (
        b'\n         \n{"id":"gen-1","model":"acme/one","provider":"Acme","choices":[{"index":0,'
        b'"finish_reason":"stop","message":{"role":"assistant","content":"Hello"}}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost":0.001}}'
    )
    upstream.add_script(http_reply(body))
    assert (await harness()).text == "Hello"


async def test_a_failure_inside_a_200_is_a_failure(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(http_reply(error_body(503, "overloaded", error_type="provider_overloaded")))
    upstream.add_script(streamed_reply())
    outcome = await harness()
    assert outcome.codes == ["upstream_overloaded", None]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http_reply(b"{broken"), id="broken_json"),
        pytest.param(http_reply(b""), id="empty"),
        pytest.param(http_reply(b"<html>oops</html>", content_type="text/html"), id="html"),
        pytest.param(http_reply(b'{"id":"gen-1","choices":null}'), id="choices_null"),
        pytest.param(http_reply(b'{"id":"gen-1","choices":[]}'), id="no_choices"),
        pytest.param(SSE_HEAD + chunked_body(b"data: {broken\n\n"), id="broken_event"),
    ],
)
async def test_what_is_no_reply_is_asked_again_once(
    harness: GatewayHarness, upstream: ScriptedUpstream, answer: bytes
) -> None:
    upstream.add_script(answer)
    outcome = await harness()
    assert len(outcome.codes) == 2
    assert set(outcome.codes) <= {"upstream_protocol_error", "upstream_incomplete"}
    assert len(str(outcome.error)) < 500


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "upstream_rejected"),
        (404, "upstream_model_unavailable"),
        (413, "upstream_rejected"),
        (422, "upstream_rejected"),
        (403, "upstream_refused"),
    ],
)
async def test_a_refusal_is_passed_on_and_asked_once(
    harness: GatewayHarness, upstream: ScriptedUpstream, status: int, code: str
) -> None:
    upstream.add_script(error_reply(status))
    outcome = await harness()
    assert outcome.codes == [code]
    assert outcome.attempt.cost_status == "void"
    assert outcome.attempt.status == status


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_a_passing_failure_is_asked_again(
    harness: GatewayHarness, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.add_script(error_reply(status)).add_script(streamed_reply())
    outcome = await harness()
    assert outcome.codes[-1] is None
    assert len(outcome.codes) == 2


async def test_a_failure_that_stays_is_asked_three_times(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(502))
    outcome = await harness()
    assert outcome.codes == ["upstream_unavailable"] * 3
    assert outcome.error is not None
    assert outcome.error.status_hint == 502


async def test_a_redirect_is_never_followed(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    location = {"Location": "http://169.254.169.254/latest/meta-data"}
    upstream.add_script(http_reply(b"", 307, headers=location))
    outcome = await harness()
    assert set(outcome.codes) == {"upstream_protocol_error"}
    assert "redirects are not followed" in str(outcome.error)
