import asyncio
from pathlib import Path

import httpx
import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings
from devflow_sandbox import Sandbox
from devflow_server import run_gateway
from devflow_server.http import Exchange, Listener
from devflow_server.operations.tracing import open_tracing
from devflow_server.serving import bind_socket

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_request_is_a_span_of_its_clients_trace(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def collector(exchange: Exchange) -> None:
        received.append(exchange.request.body)
        exchange.respond(200, b"")

    async with Listener(collector) as listener, Sandbox() as sandbox:
        bound = bind_socket("127.0.0.1", 0)
        await listener.listen(bound)
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=False,
            data_dir=tmp_path,
            otel_endpoint=f"http://127.0.0.1:{bound.getsockname()[1]}/v1/traces",
        )
        stopping: asyncio.Task[None] = asyncio.create_task(_ask_once(settings))
        await stopping
    sent = b"".join(received)
    assert bytes.fromhex(TRACE) in sent
    assert b"/v1/models" in sent


async def _ask_once(settings: Settings) -> None:
    async with (
        run_gateway(settings) as gateway,
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
    ):
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        reply = await client.get(f"{gateway.url}/v1/models", headers=headers)
        assert reply.status_code == 200


async def test_without_an_endpoint_nothing_is_traced() -> None:
    async with open_tracing(None) as tracing:
        assert type(tracing).__name__ == "NoTracing"


async def test_what_the_body_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    settings = Settings.load(
        {}, None, base_url="http://127.0.0.1:9/api/v1", api_key="sk-or-v1-x", port=0,
        require_key=False, data_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="of the body"):
        async with run_gateway(settings):
            raise ConfigurationError("of the body")
