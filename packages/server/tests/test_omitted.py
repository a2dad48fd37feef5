"""What could not be carried over to the provider is told to whoever asked."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core.settings import Settings
from devflow_sandbox import Sandbox
from devflow_server import run_gateway
from devflow_server.replies.reply import ReplyMetadata

BODY: dict[str, Any] = {"model": "openai/gpt-4o-mini", "input": "Say ok."}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_reply_names_what_was_left_out(tmp_path: Path, *, is_stream: bool) -> None:
    async with Sandbox() as sandbox:
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=False,
            data_dir=tmp_path,
        )
        async with (
            run_gateway(settings) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client,
        ):
            body = {**BODY, "stream": is_stream}
            whole = await client.post("/v1/responses", json=body)
            cut = await client.post("/v1/responses", json={**body, "store": True})
    assert (whole.status_code, cut.status_code) == (200, 200)
    assert "x-devflow-omitted" not in whole.headers
    assert cut.headers["x-devflow-omitted"] == "store"


def omitted(*names: str) -> str:
    metadata = ReplyMetadata(request_id="r", model="a/b", provider=None, attempts=1, omitted=names)
    return dict(metadata.headers())["x-devflow-omitted"]


def test_names_that_are_the_callers_own_cannot_forge_a_header() -> None:
    assert omitted("a\r\nset-cookie: x", "é, b", "store") == "a??set-cookie: x, ?? b, store"


def test_a_long_list_is_cut_and_says_so() -> None:
    header = omitted(*(f"field-{number}-" + "x" * 100 for number in range(40)))
    assert len(header) <= 1_000 + len(", 40 more")
    assert header.endswith(" more")
