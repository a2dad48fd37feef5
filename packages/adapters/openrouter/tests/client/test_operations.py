"""Every operation of OpenRouter's description has its method, its address and its key."""

import inspect
import json
import ssl
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
from devflow_core.errors import InvalidRequest, KeyRefused, NotFound
from devflow_core.ports import UpstreamKey
from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.client.management import ManagementClient
from devflow_openrouter.testing import CANARY, ScriptedUpstream, error_reply, http_reply
from devflow_upstream import Http1Transport
from devflow_upstream.transport import http1_transport, httpx_transport
from devflow_upstream.transport.http1_transport import make_tls_context

KEY = UpstreamKey(secret=CANARY, id="k", source="user")
OPERATIONS: list[dict[str, str]] = json.loads(
    files("devflow_openrouter").joinpath("data/operations.json").read_text("utf-8")
)["operations"]
OF_USERS = [one for one in OPERATIONS if one["key"] == "user"]
OF_MANAGERS = [one for one in OPERATIONS if one["key"] == "management"]
VALUES = {
    "model": "acme/one", "output": "all", "slug": "mine", "version": "2", "file_id": "f-1",
    "job_id": "j-1", "generation_id": "gen-1", "name": "a.pdf", "content": b"%PDF",
    "body": {"model": "m"}, "key": KEY,
}  # fmt: skip
IN_PATHS = {
    "author": "acme", "slug": "one", "file_id": "f-1", "jobId": "j-1", "version": "2",
}  # fmt: skip
SLUGS = {"/presets": "mine"}


def test_the_list_is_whole() -> None:
    assert Counter(one["key"] for one in OPERATIONS) == {"user": 44, "management": 52, "none": 1}
    assert len({one["id"] for one in OPERATIONS}) == len(OPERATIONS)
    assert all(one["left_out"] for one in OPERATIONS if one["key"] == "none")
    methods = [one["call"] for one in OF_USERS]
    assert len(set(methods)) == len(methods)


@pytest.mark.parametrize("operation", OF_USERS, ids=lambda one: one["id"])
async def test_an_operation_of_a_user_key_is_a_method_with_its_address(
    upstream: ScriptedUpstream, operation: dict[str, str]
) -> None:
    upstream.add_script(http_reply(b'{"data":[]}'))
    transport = Http1Transport(upstream.base_url)
    method = getattr(ApiClient(transport), operation["call"])
    needed = {
        name: VALUES[name]
        for name, one in inspect.signature(method).parameters.items()
        if (one.default is one.empty and one.kind is not one.VAR_KEYWORD) or name == "key"
    }
    await method(**needed)
    await transport.aclose()
    head = upstream.requests[0].partition(b"\r\n\r\n")[0].decode()
    verb, target = head.split(" ")[:2]
    path = target.partition("?")[0].removeprefix("/api/v1")
    values: dict[str, Any] = dict(IN_PATHS)
    if operation["path"].startswith("/presets"):
        values["slug"] = "mine"
    assert (verb, path) == (operation["method"], operation["path"].format(**values))
    if operation["call"] != "exchange_code":
        assert f"Authorization: Bearer {CANARY}" in head


@pytest.mark.parametrize("operation", OF_MANAGERS, ids=lambda one: one["id"])
async def test_an_operation_of_management_needs_its_own_key(
    upstream: ScriptedUpstream, operation: dict[str, str]
) -> None:
    upstream.add_script(http_reply(b'{"data":{}}'))
    transport = Http1Transport(upstream.base_url)
    manager = ManagementClient(ApiClient(transport), "sk-or-v1-manager")
    values = {"id": "a/b", "hash": "h", "interval": "daily"}
    body = None if operation["method"] in ("GET", "DELETE") else {"name": "x"}
    await manager.call(operation["id"], values, query={"limit": 3}, body=body)
    await transport.aclose()
    head = upstream.requests[0].partition(b"\r\n\r\n")[0].decode()
    wanted = operation["path"].format(id="a%2Fb", hash="h", interval="daily")
    assert head.startswith(f"{operation['method']} /api/v1{wanted}?limit=3 ")
    assert "Authorization: Bearer sk-or-v1-manager" in head


async def test_management_says_what_is_wrong(upstream: ScriptedUpstream) -> None:
    upstream.add_script(error_reply(401, "Only management keys can perform this operation"))
    transport = Http1Transport(upstream.base_url)
    manager = ManagementClient(ApiClient(transport), "sk-or-v1-manager")
    with pytest.raises(NotFound, match="ApiClient"):
        await manager.call("getModels")
    with pytest.raises(InvalidRequest, match="hash"):
        await manager.call("getKey")
    with pytest.raises(KeyRefused):
        await manager.call("list")
    await transport.aclose()
    assert set(ManagementClient.operations()) == {one["id"] for one in OF_MANAGERS}


async def test_bytes_and_files_travel_unchanged(upstream: ScriptedUpstream) -> None:
    upstream.add_script(http_reply(b"\x00mp3", content_type="audio/mpeg"))
    upstream.add_script(http_reply(b'{"id":"f-1"}')).add_script(error_reply(404))
    transport = Http1Transport(upstream.base_url)
    api = ApiClient(transport)
    assert await api.speech({"input": "x"}, KEY) == b"\x00mp3"
    assert await api.upload_file("a.pdf", b"%PDF\xff", KEY) == {"id": "f-1"}
    with pytest.raises(Exception, match="404"):
        await api.file_content("f/1", KEY)
    await transport.aclose()
    form = upstream.requests[1]
    assert b"Content-Type: multipart/form-data; boundary=" in form
    assert b'filename="a.pdf"' in form
    assert b"%PDF\xff" in form
    assert b"/files/f%2F1/content" in upstream.requests[2]


def test_every_transport_speaks_tls_1_2_or_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_tls_context().minimum_version is ssl.TLSVersion.TLSv1_2
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        context = make_tls_context()
        made.append(context)
        return context

    monkeypatch.setattr(http1_transport, "make_tls_context", make)
    monkeypatch.setattr(httpx_transport, "make_tls_context", make)
    Http1Transport("https://openrouter.ai/api/v1")
    httpx_transport.make_proxy_transport("https://openrouter.ai/api/v1", "http://127.0.0.1:9")
    assert len(made) == 2
