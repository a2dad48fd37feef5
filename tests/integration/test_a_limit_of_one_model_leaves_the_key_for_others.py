"""A limit of one model, or of the free ones, does not keep the only key from another model."""

import asyncio
from pathlib import Path

import pytest
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import error_body, streamed_reply
from dialect_samples import samples_of
from integration.upstream_door import MODEL, OTHER, PATHS, Script, failed, open_door, streamed

WIRES = list(PATHS)
FREE, OTHER_FREE = "openai/gpt-oss-20b:free", "google/gemma-4-31b-it:free"
WELL: Script = (streamed_reply(),)
PER_MINUTE = "Rate limit exceeded: free-models-per-min. "
PER_DAY = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000"
LIMITS: dict[str, Script] = {
    "said by nobody": failed(error_body(429, "Provider returned error"), 429, retry_after="60"),
    "of a model": failed(error_body(429, "Rate limit exceeded: limit_rpm/a/b/c. High demand"), 429,
                         retry_after="60"),
    "of the free": failed(
        error_body(429, PER_MINUTE, limit_source="openrouter_free_tier_per_minute"), 429,
        retry_after="60"),
    "of the free, in words": failed(error_body(429, PER_MINUTE), 429, retry_after="60"),
    "of the day": failed(
        error_body(429, PER_DAY, limit_source="openrouter_free_tier_daily"), 429,
        retry_after="3600"),
    "of the day, in words": failed(error_body(429, PER_DAY), 429, retry_after="3600"),
}  # fmt: skip
PAGE = failed(b"error code: 1015", 429, "text/plain", retry_after="60")
SPENT = failed(error_body(402, "Insufficient credits.", limit_source="openrouter_credits"), 402)


CASES = [
    ("said by nobody", MODEL), ("of the free", FREE), ("said by nobody", FREE),
    ("of a model", MODEL), ("of the free", MODEL), ("of the free, in words", FREE),
    ("of the day", FREE), ("of the day, in words", FREE),
]  # fmt: skip
WAYS = [(wire, is_stream) for wire in WIRES for is_stream in (True, False)]


@pytest.mark.parametrize(
    ("kind", "model", "wire", "is_stream"),
    [
        *((*case, *way) for case in CASES[:2] for way in WAYS),
        *((*case, *WAYS[number]) for number, case in enumerate(CASES[2:])),
    ],
)
async def test_the_second_model_answers_with_the_same_key(
    tmp_path: Path, kind: str, model: str, wire: str, is_stream: bool
) -> None:
    well = streamed(*samples_of(wire).hello)
    async with open_door(tmp_path, LIMITS[kind], well, fallbacks={model: (OTHER,)}) as door:
        first = await door.send(wire, stream=is_stream, model=model)
        second = await door.send(wire, stream=is_stream, model=OTHER)
        assert door.upstream.models == [model, OTHER, OTHER]
    assert (first.status_code, second.status_code) == (200, 200)
    assert "Hel" in first.text


@pytest.mark.parametrize("is_stream", [True, False])
async def test_while_it_rests_for_a_model_that_is_passed_over_at_once(
    tmp_path: Path, is_stream: bool
) -> None:
    limited = LIMITS["said by nobody"]
    async with open_door(tmp_path, limited, WELL, fallbacks={MODEL: (OTHER,)}) as door:
        for _ in range(3):
            reply = await door.send("openai_chat", stream=is_stream)
            assert reply.status_code == 200
        assert door.upstream.models == [MODEL, OTHER, OTHER, OTHER]


async def test_a_short_rest_of_a_model_is_not_waited_for_either(tmp_path: Path) -> None:
    limited = failed(error_body(429, "Slow down."), 429, retry_after="3")
    async with open_door(tmp_path, limited, WELL, fallbacks={MODEL: (OTHER,)}) as door:
        for _ in range(2):
            assert (await door.send("openai_chat", stream=False)).status_code == 200
        assert door.upstream.models == [MODEL, OTHER, OTHER]


async def test_the_limit_of_the_free_models_is_one_for_all_of_them(tmp_path: Path) -> None:
    limited = LIMITS["of the free"]
    async with open_door(tmp_path, limited, WELL, total_timeout_s=20) as door:
        statuses = [
            (await door.send("openai_chat", stream=False, model=model)).status_code
            for model in (FREE, OTHER_FREE, OTHER)
        ]
        assert door.upstream.models == [FREE, OTHER]
    assert statuses == [429, 429, 200]


async def test_where_nobody_else_can_answer_the_wait_is_told(tmp_path: Path) -> None:
    async with open_door(tmp_path, LIMITS["said by nobody"], total_timeout_s=20) as door:
        replies = [await door.send("openai_chat", stream=False) for _ in range(2)]
        assert door.upstream.models == [MODEL]
    assert [one.status_code for one in replies] == [429, 429]
    assert [one.json()["error"]["code"] for one in replies] == ["rate_limited", "still_limited"]
    assert all(50 <= int(one.headers["retry-after"]) <= 62 for one in replies)


@pytest.mark.parametrize(("script", "status"), [(PAGE, 429), (SPENT, 402)])
async def test_a_limit_of_the_key_keeps_it_from_every_model(
    tmp_path: Path, script: Script, status: int
) -> None:
    async with open_door(tmp_path, script, fallbacks={MODEL: (OTHER,)}, total_timeout_s=20) as door:
        replies = [
            await door.send("openai_chat", stream=False, model=model) for model in (MODEL, OTHER)
        ]
        assert OTHER not in door.upstream.models[:1]
        assert len(door.upstream.models) <= 2
    assert [one.status_code for one in replies] == [status, status]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_with_several_keys_the_next_one_is_asked_for_the_same_model(
    tmp_path: Path, is_stream: bool
) -> None:
    limited = LIMITS["said by nobody"]
    keys = {"api_key": None, "api_keys": ["sk-or-v1-a", "sk-or-v1-b"]}
    async with open_door(tmp_path, limited, WELL, fallbacks={MODEL: (OTHER,)}, **keys) as door:
        for _ in range(2):
            assert (await door.send("openai_chat", stream=is_stream)).status_code == 200
        assert door.upstream.models == [MODEL, MODEL, MODEL]


async def test_python_is_answered_by_the_second_model_too(tmp_path: Path) -> None:
    limited = LIMITS["said by nobody"]
    async with (
        open_door(tmp_path, limited, WELL, fallbacks={MODEL: (OTHER,)}) as door,
        wiring.open_gateway(door.settings) as gateway,
        asyncio.timeout(60),
    ):
        done = await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
    assert done.text == "Hello"
    assert door.upstream.models == [MODEL, OTHER]
