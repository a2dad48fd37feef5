"""Checks when a stream comes, how it ends early, and what it reports as its cost."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack

from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import Recording, leave_at_text
from devflow_cli.conformance.speech import Inquiry, Utterance
from devflow_cli.conformance.stand_in import GAP_S, StandIn
from devflow_cli.conformance.terms import ClauseBroken, ClauseNotShown, ClauseSkipped, require

MIN_SPAN = 0.1
"""The least share of the time from question to end over which a stream's text must come.

A reply of 150 tokens takes longer to write than to begin, even where the model is asked first to
think.
"""
CLEAR_SPAN_S = 0.5
"""Seconds over which text must come to prove that it was not held back, late as it may begin."""
MIN_TOTAL_S = 0.25
"""Seconds below which a reply may come in one piece although nothing holds it back."""
_COUNTING = "Count from 1 to {count}, one number per line, and write nothing else."
_NO_STAND_IN = (
    "not seen from outside: run the gateway over `devflow sandbox` and give its root as --stand-in"
)


async def answers(probe: Probe) -> str:
    """A small request is answered with text, the reason for its end and the model's name."""
    found: Recording = await hear_hello(probe, stream=False)
    said = probe.understand(found)
    require(said.text.strip(), f"the reply holds no text: {found.excerpt}")
    require(said.ending in ("end", "stop"), "the reply does not say why it ended")
    require(said.reply.get("model"), "the reply does not name its model")
    return f"{said.reply['model']} says {said.text.strip()[:24]!r}"


async def usage(probe: Probe) -> str:
    """The usage adds up, and a prompt counts about the same in a whole reply and in a stream."""
    whole = probe.understand(await hear_hello(probe, stream=False))
    streamed = probe.understand(await hear_hello(probe, stream=True))
    for name, said in (("whole reply", whole), ("stream", streamed)):
        require(said.input_tokens > 0, f"a {name} says 0 input tokens: costs cannot be known")
        require(said.output_tokens > 0, f"a {name} says 0 output tokens: costs cannot be known")
        require(said.cached_tokens <= said.input_tokens, f"a {name} reads more than its prompt")
        require(
            said.total_tokens in (None, said.input_tokens + said.output_tokens),
            f"the total of a {name} is {said.total_tokens}, not the sum of its parts",
        )
    apart = abs(whole.input_tokens - streamed.input_tokens)
    # two providers may have counted the same prompt
    require(
        apart <= max(8, whole.input_tokens // 10),
        f"one prompt has {whole.input_tokens} tokens whole, {streamed.input_tokens} streamed",
    )
    return f"{_sum_of(whole)} whole, {_sum_of(streamed)} streamed"


async def in_time(probe: Probe) -> str:
    """Text comes as it is written: a stream is not held back until its end."""
    share, total_s = 0.0, 0.0
    # the second try is longer, in case the model wrote the first reply at once
    for count in (60, 120) if probe.stand_in is None else (40, 40):
        async with AsyncExitStack() as stack:
            if probe.stand_in is not None:
                await stack.enter_async_context(_slowed(probe, probe.stand_in))
            found = await probe.send(Inquiry(question=_COUNTING.format(count=count), stream=True))
        times = [one.at_s for one in found.events if probe.speech.find_text(one)]
        require(times, "the stream holds no text")
        span_s, total_s = times[-1] - times[0], times[-1] - found.sent_s
        share = span_s / total_s if total_s else 0.0
        if share >= MIN_SPAN or span_s >= CLEAR_SPAN_S:
            return f"text comes over {share:.0%} of the time"
        if total_s < MIN_TOTAL_S:
            raise ClauseNotShown("the reply was too fast to tell; --stand-in slows it down")
    raise ClauseBroken(
        f"all text came in the last {share:.0%} of {total_s:.1f} s: it is buffered on the way;"
        " turn off buffering and compression of text/event-stream there"
    )


async def cancel(probe: Probe) -> str:
    """When the client leaves a stream, the call upstream is ended, so that it costs no more."""
    if probe.stand_in is None:
        raise ClauseSkipped(_NO_STAND_IN)
    probe.count_call()
    inquiry = Inquiry(question=_COUNTING.format(count=120), stream=True)
    body = probe.speech.write(inquiry, probe.model)
    async with _slowed(probe, probe.stand_in):
        # before the call is made, so that it is the first one after these
        since = await probe.stand_in.count_calls()
        await leave_at_text(
            probe.client, probe.speech.path, body, probe.speech.headers, probe.speech.find_text
        )
        outcome = await probe.stand_in.wait_for_outcome(since)
    require(
        outcome == "cancelled",
        f"the call upstream is {outcome} although the client left: all of it is billed",
    )
    return "cancelled upstream"


async def broken_stream(probe: Probe) -> str:
    """A stream that fails upstream is refused or ends in an error event; it never looks whole."""
    if probe.stand_in is None:
        raise ClauseSkipped(_NO_STAND_IN)
    inquiry = Inquiry(question=_COUNTING.format(count=40), stream=True)
    fault = {"kind": "error_event"}
    async with probe.stand_in.playing(fault, probe.speech.path.removeprefix("/v1").split("?")[0]):
        found = await probe.try_to_send(inquiry)
    if found.status != 200:
        return f"refused with status {found.status}"
    kinds = [kind for one in found.events if (kind := probe.speech.find_error(one.json))]
    require(kinds, "half of a reply ends without an error: clients take it as whole")
    return f"an error event of type {kinds[0]}"


async def hear_hello(probe: Probe, *, stream: bool) -> Recording:
    """Return the answer to the smallest question, which a probe asks once whole, once streamed."""
    inquiry = Inquiry(question="Reply with exactly: ok", stream=stream)
    return await probe.keep(f"hello {stream}", lambda: probe.send(inquiry))


def _slowed(probe: Probe, stand_in: StandIn) -> AbstractAsyncContextManager[None]:
    # a fault's path is below the API's root, and has no query
    path = probe.speech.path.removeprefix("/v1").split("?")[0]
    return stand_in.playing({"kind": "slow", "gap_s": GAP_S}, path)


def _sum_of(said: Utterance) -> str:
    return f"{said.input_tokens}+{said.output_tokens}"
