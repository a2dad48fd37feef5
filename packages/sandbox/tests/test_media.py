"""Embeddings, rerank, speech and images: real bytes, booked like everything else."""

from __future__ import annotations

import array
import base64
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
SMALL = "openai/text-embedding-3-small"


async def test_embeddings_of_like_texts_are_near(client: Client) -> None:
    texts = ["open the file", "open this file", "pay the invoice"]
    sandbox = Sandbox()
    async with client(sandbox) as http:
        body = (await http.post("embeddings", json={"model": SMALL, "input": texts})).json()
        coded = {"model": SMALL, "input": texts[0], "encoding_format": "base64"}
        packed = (await http.post("embeddings", json=coded)).json()["data"][0]["embedding"]
        short = {"model": SMALL, "input": [1, 2, 3], "dimensions": 8}
        small = (await http.post("embeddings", json=short)).json()["data"]
        lists = (await http.post("embeddings", json={**short, "input": [[1], [2]]})).json()["data"]
    first, second, third = (one["embedding"] for one in body["data"])

    def near(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert near(first, second) > near(first, third)
    assert near(first, first) == pytest.approx(1)
    assert array.array("f", base64.b64decode(packed)).tolist() == pytest.approx(first)
    assert (len(first), len(small[0]["embedding"]), len(lists)) == (1536, 8, 2)
    assert body["model"] == "text-embedding-3-small"
    assert sandbox.bill()["calls"][0]["cost_usd"] == "0.00000024"


async def test_rerank_puts_the_nearest_first(client: Client) -> None:
    body = {
        "model": "voyageai/rerank-2.5-lite",
        "query": "what is ruby",
        "documents": ["Paris is a city", {"text": "Ruby is a programming language"}],
        "top_n": 1,
    }
    async with client(Sandbox()) as http:
        (result,) = (await http.post("rerank", json=body)).json()["results"]
    assert (result["index"], result["document"]["text"][:4]) == (1, "Ruby")


@pytest.mark.parametrize("form", ["json", "verbose_json"])
async def test_transcription_as_form_and_as_json(client: Client, form: str) -> None:
    sandbox = Sandbox()
    model = "openai/gpt-4o-mini-transcribe"
    sound = b"RIFF" + bytes(96_000)
    encoded = {"data": base64.b64encode(sound).decode(), "format": "wav"}
    async with client(sandbox) as http:
        data = {"model": model, "response_format": form}
        uploaded = await http.post("audio/transcriptions", data=data, files={"file": sound})
        inline = await http.post(
            "audio/transcriptions",
            json={"model": model, "input_audio": encoded, "response_format": form},
        )
    assert uploaded.json() == inline.json()
    assert uploaded.headers["x-generation-id"].startswith("gen-stt-")
    assert ("segments" in uploaded.json()) is (form == "verbose_json")
    usage = uploaded.json()["usage"]
    expected = usage["input_tokens"] * Decimal("0.00000125")
    expected += usage["output_tokens"] * Decimal("0.000005")
    assert Decimal(sandbox.bill()["calls"][0]["cost_usd"]) == expected


async def test_speech_is_sound_and_its_cost_is_at_generation(client: Client) -> None:
    sandbox = Sandbox(generation_delay_s=0)
    body = {"model": "hexgrad/kokoro-82m", "input": "Hello there.", "voice": "af_bella"}
    async with client(sandbox) as http:
        pcm = await http.post("audio/speech", json=body)
        mp3 = await http.post("audio/speech", json={**body, "response_format": "mp3"})
        name = mp3.headers["x-generation-id"]
        known = (await http.get("generation", params={"id": name})).json()["data"]
    assert pcm.headers["content-type"] == "audio/pcm"
    assert mp3.content.startswith(b"\xff\xfb")
    assert len(mp3.content) % 417 == 0
    assert (known["api_type"], known["total_cost"]) == ("tts", pytest.approx(12 * 0.00000062))


async def test_images_are_real_png_files(client: Client) -> None:
    sandbox = Sandbox()
    body = {"model": "google/gemini-3.1-flash-lite-image", "prompt": "a cat", "n": 2}
    async with client(sandbox) as http:
        reply = await http.post("images", json=body)
    first, second = (base64.b64decode(one["b64_json"]) for one in reply.json()["data"])
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first != second
    size = int.from_bytes(first[33:37])
    assert len(zlib.decompress(first[41 : 41 + size])) == 16 * (1 + 3 * 16)
    assert Decimal(sandbox.bill()["total_usd"]) > 0
    assert reply.headers["x-generation-id"].startswith("gen-img-")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("embeddings", {"model": SMALL, "input": []}, 400),
        ("embeddings", {"model": SMALL, "input": "a", "encoding_format": "hex"}, 400),
        ("embeddings", {"model": "openai/gpt-5-mini", "input": "a"}, 404),
        ("embeddings", {"input": "a"}, 400),
        ("rerank", {"model": "voyageai/rerank-2.5-lite", "query": "a"}, 400),
        ("audio/transcriptions", {"model": "openai/gpt-4o-mini-transcribe"}, 400),
        (
            "audio/transcriptions",
            {"model": "openai/gpt-4o-mini-transcribe", "input_audio": {"data": "?"}},
            400,
        ),
        ("audio/speech", {"model": "hexgrad/kokoro-82m"}, 400),
        (
            "audio/speech",
            {"model": "hexgrad/kokoro-82m", "input": "a", "response_format": "ogg"},
            400,
        ),
        ("images", {"model": "google/gemini-3.1-flash-lite-image"}, 400),
    ],
)
async def test_wrong_requests_are_refused_and_cost_nothing(
    client: Client, path: str, body: dict[str, Any], status: int
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        assert (await http.post(path, json=body)).status_code == status
    (call,) = sandbox.bill()["calls"]
    assert (call["outcome"], call["cost_usd"]) == ("refused", "0")


async def test_empty_account_and_broken_form(client: Client) -> None:
    async with client(Sandbox(credits_usd=Decimal(0))) as http:
        body = {"model": SMALL, "input": "a"}
        assert (await http.post("embeddings", json=body)).status_code == 402
        form = {"content-type": "multipart/form-data"}
        broken = await http.post("audio/transcriptions", content=b"x", headers=form)
        assert broken.status_code == 400
