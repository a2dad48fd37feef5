"""Checks that the gateway can be reached with the key, and keeps strangers out."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from devflow_core.addresses import is_loopback

from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.terms import ClauseSkipped, require

# a request from another site's page, and one after DNS rebinding
_STRANGERS = ({"origin": "https://evil.example"}, {"host": "evil.example"})


async def reachable(probe: Probe) -> str:
    """The gateway answers over HTTP, and accepts the key."""
    reply = await probe.client.get("/v1/models")
    require(reply.status_code < 500, f"GET /v1/models gets status {reply.status_code}")
    require(
        reply.status_code not in (401, 403),
        "the key is missing or wrong: give one with --key or DEVFLOW_CLIENT_KEY",
    )
    return f"answered {reply.status_code}"


async def strangers(probe: Probe) -> str:
    """Pages of other sites cannot use a gateway on this machine that requires no key."""
    bare = await _send_bare(probe, {})
    if bare.status_code in (401, 403):
        return "a key is asked for"
    if not is_loopback(probe.client.base_url.host):
        raise ClauseSkipped("it asks for no key, and is not on this machine")
    for headers in _STRANGERS:
        reply = await _send_bare(probe, headers)
        require(
            reply.status_code in (401, 403),
            f"{headers} gets status {reply.status_code}: any web page can spend your money",
        )
        granted = [name for name in reply.headers if name.startswith("access-control-allow")]
        require(not granted, "it grants permissions to pages of other sites")
    return "refused"


async def _send_bare(probe: Probe, headers: Mapping[str, str]) -> httpx.Response:
    """Send an invalid request without the key."""
    body = probe.speech.invalid_body(probe.model)
    path, client = probe.speech.path, probe.client
    request = client.build_request("POST", path, json=body, headers=dict(headers))
    # the client adds the key to every request
    request.headers.pop("authorization", None)
    return await client.send(request)
