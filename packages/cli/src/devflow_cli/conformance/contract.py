"""Checks what every client relies on.

The first docstring line of each check is the promise, which is shown to the user. A check returns
what it saw, or raises `CheckFailed`.
"""

from __future__ import annotations

from devflow_cli.conformance.gateway_under_test import SMALL_REQUEST, GatewayUnderTest, require


async def reachable(gateway: GatewayUnderTest) -> str:
    """The gateway answers over HTTP."""
    reply = await gateway.client.get("/v1/models")
    require(reply.status_code < 500, f"GET /v1/models gets status {reply.status_code}")
    require(reply.status_code not in (401, 403), "the client key is missing or wrong")
    return f"answered {reply.status_code}"


async def models(gateway: GatewayUnderTest) -> str:
    """GET /v1/models lists at least one model, in OpenAI's shape."""
    found = (await gateway.client.get("/v1/models")).json()["data"]
    require(found and all(one["id"] for one in found), "the list of models is empty")
    return f"{len(found)} models"


async def chat(gateway: GatewayUnderTest) -> str:
    """POST /v1/chat/completions reports usage in a whole reply, and ends a stream in [DONE]."""
    body = {
        "model": SMALL_REQUEST["model"],
        "messages": SMALL_REQUEST["messages"],
        "max_tokens": 64,
    }
    whole = (await gateway.post("/v1/chat/completions", body)).json()
    require(whole["choices"][0]["message"]["role"] == "assistant", "there is no answer")
    require(whole["usage"]["total_tokens"] > 0, "the usage is missing: costs cannot be known")
    streamed = await gateway.post("/v1/chat/completions", {**body, "stream": True})
    require(streamed.text.rstrip().endswith("data: [DONE]"), "a stream does not end in [DONE]")
    return f"{whole['usage']['total_tokens']} tokens"


async def errors(gateway: GatewayUnderTest) -> str:
    """An invalid chat request gets a status of 400 to 499, and an error in OpenAI's shape."""
    reply = await gateway.post("/v1/chat/completions", {"messages": "none"})
    require(400 <= reply.status_code < 500, f"an invalid request gets status {reply.status_code}")
    require(reply.json()["error"]["message"], "the error has no message")
    return f"{reply.status_code} with a message"


async def browsers(gateway: GatewayUnderTest) -> str:
    """Pages of other sites are refused: no CORS headers, no foreign origins or hosts."""
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        reply = await gateway.client.get("/v1/models", headers=headers)
        require(reply.status_code in (401, 403), f"{headers} gets status {reply.status_code}")
        granted = [name for name in reply.headers if name.startswith("access-control")]
        require(not granted, "it grants permissions to pages of other sites")
    return "refused"


CHECKS = (reachable, models, chat, errors, browsers)
