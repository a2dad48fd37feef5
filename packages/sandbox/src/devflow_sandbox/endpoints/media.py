"""Answers the endpoints for speech, transcription and images with small, valid files."""

from __future__ import annotations

import base64

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.catalogue.billing import BilledTokens, to_json_number
from devflow_sandbox.catalogue.services import image_tokens
from devflow_sandbox.endpoints.billed_call import EndpointJob, estimate_tokens, run_job
from devflow_sandbox.message import CORS, Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.parsed_request import BodyReader
from devflow_sandbox.replies.picture import make_png
from devflow_sandbox.sandbox_state import SandboxState

_MAX_IMAGES = 10
"""Images of one request (`n`)."""


def create_transcription(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /audio/transcriptions`, whose body is JSON or a form, with an invented text."""
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
    # as for 16-bit PCM at 24 kHz, whatever the file really is
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
    """Answer `POST /audio/speech` with silence as PCM or MP3; `/generation` reports the cost."""
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
    """Answer `POST /images` with valid PNG files of one colour."""
    return run_job(state, request, "image", _draw)


def _draw(job: EndpointJob) -> Answer:
    prompt = job.body.text("prompt")
    if not prompt:
        raise invalid_request("Invalid input: prompt: expected string, received null")
    count = job.body.count("n") or 1
    if count > _MAX_IMAGES:
        raise invalid_request(f"Invalid input: n: expected at most {_MAX_IMAGES}")
    output = image_tokens(job.model.author) * count
    tokens = BilledTokens(prompt=estimate_tokens(prompt), completion=output, image_out=output)
    generation_id, charge = job.charge_tokens("img", tokens)
    seeds = (f"{job.body.body.get('seed')}|{prompt}|{index}" for index in range(count))
    data = [
        {"b64_json": base64.b64encode(make_png(seed)).decode(), "media_type": "image/png"}
        for seed in seeds
    ]
    usage = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": output,
        "total_tokens": tokens.prompt + output,
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": output},
        "cost": to_json_number(charge.total),
    }
    headers = [("X-Generation-Id", generation_id), ("X-Provider-Name", job.call.provider or "")]
    return json_answer({"created": 0, "data": data, "usage": usage}, headers=headers)
