import asyncio
from typing import Any

import httpx
import pytest
from devflow_core.errors import ConfigurationError, StoreError
from devflow_server.auth import check_bind, is_loopback
from devflow_server.http import Limits
from devflow_server.routes import Access, HttpRoute, RequestContext, RouteTable

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


async def nothing(_context: RequestContext) -> None: ...


@pytest.fixture
def keys(fake_keys: Any) -> Any:
    return fake_keys(
        all_of_it={},
        reader={"routes": ["read"]},
        talker={"routes": ["chat"], "models": ["z-ai/*"]},
        operator={"routes": ["read", "operate"]},
    )


def test_a_route_without_a_policy_keeps_the_server_from_starting() -> None:
    with pytest.raises(ConfigurationError, match="who may use it"):
        RouteTable([HttpRoute(method="GET", path="/x", handler=nothing)])


def test_a_route_that_is_declared_twice_keeps_the_server_from_starting() -> None:
    route = HttpRoute(method="GET", path="/x", handler=nothing, access=Access.OPEN)
    with pytest.raises(ConfigurationError, match="twice"):
        RouteTable([route, route])


@pytest.mark.parametrize(
    ("host", "require_key", "has_keys", "may_start"),
    [
        ("127.0.0.1", True, False, True),
        ("127.0.0.1", False, False, True),
        ("::1", False, False, True),
        ("localhost", False, False, True),
        ("0.0.0.0", False, True, False),  # noqa: S104
        ("0.0.0.0", True, False, False),  # noqa: S104
        ("0.0.0.0", True, True, True),  # noqa: S104
        ("192.168.1.5", False, False, False),
        ("example.com", False, True, False),
    ],
)
def test_off_loopback_it_starts_with_keys_only(
    host: str, *, require_key: bool, has_keys: bool, may_start: bool
) -> None:
    if may_start:
        check_bind(host, require_key=require_key, has_keys=has_keys)
    else:
        with pytest.raises(ConfigurationError):
            check_bind(host, require_key=require_key, has_keys=has_keys)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "::ffff:10.0.0.1", "", "localhost", "2130706433", "0.0.0.0", "fe80::1%lo", "::"],  # noqa: S104
)
def test_what_is_not_the_loopback_peer_is_not_local(address: str) -> None:
    assert not is_loopback(address)


def test_the_loopback_peer_is_local() -> None:
    assert all(is_loopback(one) for one in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"))


ALLOWED = {
    Access.OPEN: {"none", "wrong", "all_of_it", "reader", "talker", "operator"},
    Access.OPERATOR: {"operator"},
}


async def test_every_route_takes_whom_its_policy_names_and_nobody_else(
    open_server: Any, keys: Any
) -> None:
    async with open_server(keys=keys) as server:
        for route in server.app.routes.routes:
            by_group = {"all_of_it", *({"reader", "operator"} if route.group == "read" else ())}
            by_group |= {"talker"} if route.group == "chat" else set()
            allowed = ALLOWED.get(route.access, by_group)
            path = route.path.partition("{")[0] + ("x" if "{" in route.path else "")
            for caller in ("none", "wrong", "all_of_it", "reader", "talker", "operator"):
                headers = {} if caller == "none" else {"authorization": f"Bearer {caller}"}
                reply = await server.client.request(route.method, path, headers=headers)
                is_let_in = reply.status_code not in (401, 403, 429)
                assert is_let_in == (caller in allowed), (route.method, path, caller)
    assert server.upstream.calls == []


@pytest.mark.parametrize(
    "path",
    ["/V1/models", "//v1/models", "/v1//models", "/v1/models/", "/v1/models.", "/v1/models;x",
     "/%76%31/models", "/v1/%6dodels", "/healthz/../v1/models", "/v1/./models", "/v1/models%00",
     "/healthz%2f..%2fmetrics", "/v1\\models"],
)  # fmt: skip
async def test_another_spelling_of_a_path_is_another_path(
    open_server: Any, keys: Any, path: str
) -> None:
    async with open_server(keys=keys) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = (await reader.readline())[9:12]
        writer.close()
    # `/v1/models/` and a NUL in an id belong to the route of one model, which needs a key
    assert status in (b"404", b"401")


@pytest.mark.parametrize(
    "key",
    ["' OR 1=1 --", "é" * 10, "a" * 100_000, "x\x7fy", "Bearer", "sk-or-v1-anything"],
    ids=["sql", "not ascii", "long", "control", "word", "provider key"],
)
async def test_a_malformed_key_is_unauthorized_never_a_fault(
    open_server: Any, keys: Any, key: str
) -> None:
    async with open_server(keys=keys, limits=Limits(max_head_bytes=200_000)) as server:
        for name, value in (("x-api-key", key), ("authorization", f"Bearer {key}")):
            header = (name.encode(), value.encode("latin-1"))
            request = httpx.Request(
                "GET", f"http://127.0.0.1:{server.port}/v1/models", headers=[header]
            )
            try:
                reply = await server.client.send(request)
            except httpx.LocalProtocolError:
                continue
            assert reply.status_code in (400, 401)


async def test_a_key_that_cannot_be_looked_up_lets_nobody_in(open_server: Any, keys: Any) -> None:
    async def broken(_secret: str, /) -> None:
        raise StoreError("The ledger is locked.")

    keys.verify = broken
    async with open_server(keys=keys) as server:
        reply = await server.client.post(
            "/v1/chat/completions", json=CHAT, headers={"x-api-key": "all_of_it"}
        )
    assert reply.status_code == 503
    assert server.upstream.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1:80@evil.example"},
        {"host": "localhost:x"},
        {"host": ""},
        {"host": "0.0.0.0"},  # noqa: S104
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_pages_of_other_sites_are_turned_away(
    open_server: Any, headers: dict[str, str]
) -> None:
    async with open_server() as server:
        for path in ("/healthz", "/v1/models", "/v1/chat/completions"):
            method = "POST" if "chat" in path else "GET"
            reply = await server.client.request(method, path, headers=headers)
            assert reply.status_code == 403
            assert not [name for name in reply.headers if name.startswith("access-control")]
    assert server.upstream.calls == []


async def test_a_preflight_gets_no_permission(open_server: Any) -> None:
    async with open_server() as server:
        reply = await server.client.options("/v1/chat/completions")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "x-client-ip"]
)
async def test_locality_is_the_sockets_never_a_headers(open_server: Any, header: str) -> None:
    async with open_server(local_key="devflow_only_this_process") as server:
        reply = await server.client.get("/v1/models", headers={header: "127.0.0.1"})
        assert reply.status_code == 401
        own = await server.client.get(
            "/v1/models", headers={"authorization": "Bearer devflow_only_this_process"}
        )
        assert own.status_code == 200


async def test_a_provider_key_in_the_clients_place_pays_for_its_user(open_server: Any) -> None:
    async with open_server() as server:
        headers = {"authorization": "Bearer sk-or-v1-mine"}
        await server.client.post("/v1/chat/completions", json=CHAT, headers=headers)
        status = (await server.client.get("/openrouter/status", headers=headers)).json()
    assert server.upstream.calls[0].request.user_key == "sk-or-v1-mine"
    assert status == {
        "key_source": "user",
        "has_server_key": True,
        "has_user_key": True,
        "cache_age_s": 12.5,
        "cache_size": 3,
    }


async def test_models_are_listed_for_openai_and_for_claude_code(open_server: Any) -> None:
    async with open_server() as server:
        plain = (await server.client.get("/v1/models")).json()
        found = (
            await server.client.get(
                "/v1/models?limit=1000", headers={"anthropic-version": "2023-06-01"}
            )
        ).json()
        cut = (await server.client.get("/v1/models?limit=1")).json()
        one = await server.client.get("/v1/models/z-ai/glm-5")
        none = await server.client.get("/v1/models/no/such")
        wrong = await server.client.get("/v1/models?limit=-1")
    listed = [model["id"] for model in plain["data"]]
    modes = ["auto", "auto:cheap", "auto:fast", "auto:best", "auto:verified"]
    assert listed == [*modes, "anthropic/claude-haiku-4.5", "z-ai/glm-5"]
    ids = [model["id"] for model in found["data"]]
    assert ids[5:] == ["anthropic/claude-haiku-4.5", "claude-via-devflow/z-ai/glm-5"]
    assert plain["data"][5]["pricing"]["prompt"] == "0.000001"
    assert (len(cut["data"]), cut["has_more"]) == (1, True)
    assert (one.json()["id"], none.status_code, wrong.status_code) == ("z-ai/glm-5", 404, 400)


async def test_a_discovered_alias_and_a_long_context_suffix_name_the_model(
    open_server: Any,
) -> None:
    async with open_server() as server:
        for model in ("claude-via-devflow/z-ai/glm-5", "z-ai/glm-5[1m]"):
            await server.client.post("/v1/chat/completions", json={**CHAT, "model": model})
    assert [call.request.model for call in server.upstream.calls] == ["z-ai/glm-5"] * 2


async def test_nodes_are_changed_persisted_and_used(open_server: Any) -> None:
    async with open_server(settings={"nodes": {"review": {"model": "auto:best"}}}) as server:
        names = [
            node["task_name"] for node in (await server.client.get("/system/nodes")).json()["nodes"]
        ]
        changed = await server.client.patch(
            "/system/nodes/review", json={"model": "z-ai/glm-5", "cost_priority": 0.9}
        )
        await server.client.post(
            "/v1/chat/completions", json=CHAT, headers={"x-devflow-node": "review"}
        )
        wrong = [
            await server.client.patch("/system/nodes/review", json=body)
            for body in (
                {"model": 1},
                {"cost_priority": 2},
                {"colour": "red"},
                {"cost_priority": True},
            )
        ]
        unknown = await server.client.patch("/system/nodes/none", json={"model": None})
    assert names == ["main", "review", "small", "subagent"]
    assert changed.json()["model"] == "z-ai/glm-5"
    assert server.nodes.saved["review"]["cost_priority"] == 0.9
    request = server.upstream.calls[0].request
    assert (request.model, request.criteria.cost_priority) == ("z-ai/glm-5", 0.9)
    assert request.attribution.node == "review"
    assert [reply.status_code for reply in wrong] == [400] * 4
    assert unknown.status_code == 404


async def test_health_readiness_and_metrics(open_server: Any) -> None:
    async with open_server() as server:
        await server.client.post("/v1/chat/completions", json=CHAT)
        assert (await server.client.get("/healthz")).json() == {"status": "ok"}
        assert (await server.client.get("/readyz")).status_code == 200
        metrics = (await server.client.get("/metrics")).text
        server.listener.is_draining = True
        assert (await server.client.get("/readyz")).status_code == 503
        server.listener.is_draining = False
    assert 'devflow_http_requests_total{route="/v1/chat/completions",status="200"} 1.0' in metrics


async def test_paths_that_are_none_of_ours_say_what_to_do(open_server: Any) -> None:
    async with open_server() as server:
        doubled = await server.client.post("/v1/v1/messages", json=CHAT)
        nowhere = await server.client.get("/admin")
        head = await server.client.head("/healthz")
    assert "leave it out" in doubled.json()["error"]["message"]
    assert "/docs" in nowhere.json()["error"]["message"]
    assert (head.status_code, head.content) == (200, b"")


async def test_a_fault_of_ours_is_a_reply_without_its_cause(
    open_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_server() as server:
        monkeypatch.setattr(server.nodes, "all", lambda: 1 / 0)
        reply = await server.client.get("/system/nodes")
    assert reply.status_code == 500
    assert "division" not in reply.text


async def test_more_requests_than_places_are_refused_at_once(open_server: Any) -> None:
    async with open_server(limits=Limits(max_in_flight=0, sweep_interval_s=0.05)) as server:
        reply = await server.client.get("/healthz")
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
