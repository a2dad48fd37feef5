"""Checks how a client learns that its request is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import Recording
from devflow_cli.conformance.speech import Inquiry
from devflow_cli.conformance.terms import require

_NO_MODEL = "no-such-model-of-devflow-doctor"
# the names that vendors, routers and Cloudflare use
_ID_HEADER = re.compile(r"(request|call|generation|trace)-?id$|^cf-ray$")


async def error_status(probe: Probe) -> str:
    """A faulty request gets a status of 400 to 499, or an error event once a stream has begun."""
    found = await _hear_refusals(probe)
    for name, one in found.items():
        has_event = any(probe.speech.find_error(event.json) for event in one.events)
        # a stream whose head is sent can only report it in an event
        require(
            400 <= one.status < 500 or (one.status == 200 and has_event),
            f"{name} gets status {one.status}: clients take it for an answer, or try again",
        )
    return ", ".join(f"{name} {one.status}" for name, one in found.items())


async def error_shape(probe: Probe) -> str:
    """Errors have the shape of the dialect, with a type and a message."""
    kinds: list[str] = []
    for name, one in (await _hear_refusals(probe)).items():
        bodies = [event.json for event in one.events] or [one.json]
        found = [kind for body in bodies if (kind := probe.speech.find_error(body))]
        require(found, f"{name} is told in another shape: {one.excerpt}")
        kinds.append(found[0])
    return ", ".join(kinds)


async def request_id(probe: Probe) -> str:
    """An error names its request, in a header or in its body, so that it can be traced."""
    for name, one in (await _hear_refusals(probe)).items():
        headers = [key for key in one.headers if _ID_HEADER.search(key.lower())]
        require(
            headers or b'"request_id"' in one.body,
            f"{name} gets no request id: nobody can find it in the gateway's logs",
        )
    return "named"


async def _hear_refusals(probe: Probe) -> Mapping[str, Recording]:
    return await probe.keep("refusals", lambda: _ask_for_refusals(probe))


async def _ask_for_refusals(probe: Probe) -> Mapping[str, Recording]:
    path, wrong = probe.speech.path, probe.speech.invalid_body(probe.model)
    unknown = probe.speech.write(Inquiry(question="Hello.", max_tokens=16), _NO_MODEL)
    found = {
        "an invalid request": await probe.post(path, wrong),
        "an invalid streamed request": await probe.post(path, {**wrong, "stream": True}),
        "an unknown model": await probe.post(path, unknown),
    }
    if probe.key is not None:
        bad = "wrong-key-of-devflow-doctor"
        # with the invalid body, so that a gateway that checks no keys calls no model either
        found["a wrong key"] = await probe.post(path, wrong, authorization=f"Bearer {bad}")
    return found
