"""A model that fails half of the time is asked on, and the models beside it make up for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from devflow_sandbox import Sandbox
from integration.upstream_door import MODEL, open_door

FALLBACKS = ("anthropic/claude-haiku-4.5", "google/gemini-2.5-flash")
REQUESTS = 300


@pytest.mark.parametrize(
    ("fallbacks", "least"),
    [
        (FALLBACKS, 0.8),  # 0.875 is expected of three tries, with a deviation of 0.02
        ((), 0.4),  # 0.53 is, with one of 0.03
    ],
    ids=["two fallbacks", "none"],
)
async def test_of_300_requests_at_half_an_outage_most_succeed(
    tmp_path: Path, fallbacks: tuple[str, ...], least: float
) -> None:
    half = {"kind": "status", "status": 500}
    rules = [
        {"when": {"path": "/chat/*", "model": model, "probability": 0.5}, "then": half}
        for model in (MODEL, *FALLBACKS)
    ]
    async with (
        Sandbox(faults={"faults": rules}) as sandbox,
        open_door(
            tmp_path,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            fallbacks={MODEL: fallbacks},
        ) as door,
    ):
        places = asyncio.Semaphore(8)

        async def ask() -> int:
            async with places:
                return (await door.send("openai_chat", stream=False)).status_code

        statuses = await asyncio.gather(*(ask() for _ in range(REQUESTS)))
    assert statuses.count(200) >= least * REQUESTS, {one: statuses.count(one) for one in statuses}
