"""Speech both ways, and images: small, but real files."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from decimal import Decimal

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.catalogue.billing import BilledTokens, Charge, to_json_number
from devflow_sandbox.endpoints.billed_call import EndpointJob, estimate_tokens, run_job
from devflow_sandbox.message import CORS, Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.parsed_request import BodyReader
from devflow_sandbox.sandbox_state import SandboxState

_MAX_IMAGES = 10
IMAGE_OUTPUT_TOKENS = 1290
"""What an image of 1024 x 1024 counts at Gemini."""


def create_transcription(state: SandboxState, request: SandboxRequest) -> Answer:
    """`POST /audio/transcriptions`, as JSON or as a form."""
    return run_job(state, request, "transcription", _transcribe)


def _transcribe(job: EndpointJob) -> Answer:
    sound = job.body.body.get("file")
    if sound is None:
        encoded = BodyReader(job.body.object("input_audio"), "input_audio.").text("data")
        try:
            sound = base64.b64decode(encoded or "", validate=True)
        except ValueError as error:
            raise invalid_request("Invalid input: input_audio.data: expected base64") from error
    if not isinstance(sound, bytes) or not sound:
        raise invalid_request("Invalid input: either file or input_audio is required")
    seconds = round(len(sound) / 48_000, 2)
    text = f"A recording of {seconds:g} seconds, heard by the sandbox."
    tokens = BilledTokens(prompt=max(1, round(seconds * 10)), completion=estimate_tokens(text))
    generation_id, charge = job.charge_tokens("stt", tokens)
    body: JsonObject = {"text": text}
    if job.body.text("response_format") == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": seconds, "text": text}
        language = job.body.text("language") or "english"
        body |= {"task": "transcribe", "language": language, "duration": seconds}
        body["segments"] = [segment]
    body["usage"] = {
        "total_tokens": tokens.prompt + tokens.completion,
        "input_tokens": tokens.prompt,
        "output_tokens": tokens.completion,
        "cost": to_json_number(charge.total),
    }
    return json_answer(body, headers=[("X-Generation-Id", generation_id)])


def create_speech(state: SandboxState, request: SandboxRequest) -> Answer:
    """`POST /audio/speech`: silence, as PCM or as MP3; its cost is only at `/generation`."""
    return run_job(state, request, "speech", _speak)


def _speak(job: EndpointJob) -> Answer:
    text = job.body.text("input")
    form = job.body.text("response_format") or "pcm"
    if not text:
        raise invalid_request("Invalid input: input: expected string, received null")
    if form not in ("mp3", "pcm"):
        raise invalid_request("Invalid input: response_format: expected 'mp3' or 'pcm'")
    generation_id, _ = job.charge_tokens("tts", BilledTokens(prompt=len(text)))
    frames = 1 + len(text) // 8
    # one silent frame of MPEG-1 layer III at 128 kbit/s and 44.1 kHz is 417 bytes
    silence = (b"\xff\xfb\x90\x00" + bytes(413)) * frames if form == "mp3" else bytes(960 * frames)
    kind = "audio/mpeg" if form == "mp3" else "audio/pcm"
    headers = [("Content-Type", kind), ("X-Generation-Id", generation_id), *CORS]
    return Answer(status=200, headers=headers, steps=[silence], framing="length")


def create_images(state: SandboxState, request: SandboxRequest) -> Answer:
    """`POST /images`: pictures of one colour, real PNG files."""
    return run_job(state, request, "image", _draw)


def _draw(job: EndpointJob) -> Answer:
    prompt = job.body.text("prompt")
    if not prompt:
        raise invalid_request("Invalid input: prompt: expected string, received null")
    count = job.body.count("n") or 1
    if count > _MAX_IMAGES:
        raise invalid_request(f"Invalid input: n: expected at most {_MAX_IMAGES}")
    output = IMAGE_OUTPUT_TOKENS * count
    tokens = BilledTokens(prompt=estimate_tokens(prompt), completion=output)
    price = job.model.prices.image_output
    if price:  # image tokens have a price of their own; the model's own text is not billed here
        tokens = BilledTokens(prompt=tokens.prompt)
    generation_id, charge = job.charge_tokens("img", tokens)
    extra = price * output if price else Decimal(0)
    job.call.charge = Charge(prompt=charge.prompt, completion=charge.completion + extra)
    job.key.account.used_usd += extra
    job.key.usage.add(extra, job.state.now_s())
    seeds = (f"{job.body.body.get('seed')}|{prompt}|{index}" for index in range(count))
    data = [
        {"b64_json": base64.b64encode(_make_png(seed)).decode(), "media_type": "image/png"}
        for seed in seeds
    ]
    usage = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": output,
        "total_tokens": tokens.prompt + output,
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": output},
        "cost": to_json_number(job.call.charge.total),
    }
    headers = [("X-Generation-Id", generation_id), ("X-Provider-Name", job.call.provider or "")]
    return json_answer({"created": 0, "data": data, "usage": usage}, headers=headers)


def _make_png(seed: str, side: int = 16) -> bytes:
    """A square of one colour."""
    colour = hashlib.sha256(seed.encode(errors="replace")).digest()[:3]
    rows = zlib.compress((b"\x00" + colour * side) * side)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
