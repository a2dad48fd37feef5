"""Answers `/embeddings` and `/rerank` with vectors made from words: similar texts are close."""

from __future__ import annotations

import array
import base64
import hashlib
import math
import re
from typing import cast

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.catalogue.billing import BilledTokens, to_json_number
from devflow_sandbox.endpoints.billed_call import EndpointJob, estimate_tokens, run_job
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.sandbox_state import SandboxState

_MAX_DIMENSIONS = 8192
"""The longest vector that a request may ask for."""
_DIMENSIONS = {"openai/text-embedding-3-large": 3072}


def create_embeddings(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /embeddings`: a unit vector for each text, as numbers or in base64."""
    return run_job(state, request, "embeddings", _embed)


def _embed(job: EndpointJob) -> Answer:
    texts = _parse_inputs(job.body.body.get("input"))
    dimensions = job.body.count("dimensions") or _DIMENSIONS.get(job.model.id, 1536)
    if dimensions > _MAX_DIMENSIONS:
        raise invalid_request(f"Invalid input: dimensions: expected at most {_MAX_DIMENSIONS}")
    form = job.body.text("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise invalid_request("Invalid input: encoding_format: expected 'float' or 'base64'")
    prompt = sum(estimate_tokens(text) for text in texts)
    generation_id, charge = job.charge_tokens("emb", BilledTokens(prompt=prompt))
    rows: list[JsonObject] = []
    for index, text in enumerate(texts):
        values: object = _embed_text(text, dimensions)
        if form == "base64":
            values = base64.b64encode(array.array("f", _embed_text(text, dimensions))).decode()
        rows.append({"object": "embedding", "embedding": values, "index": index})
    costs: JsonObject = {
        "upstream_inference_cost": to_json_number(charge.inference),
        "upstream_inference_prompt_cost": to_json_number(charge.prompt),
        "upstream_inference_completions_cost": to_json_number(charge.completion),
    }
    usage: JsonObject = {"prompt_tokens": prompt, "total_tokens": prompt}
    usage |= {"cost": to_json_number(charge.total), "is_byok": False, "cost_details": costs}
    # the model's bare name, and no X-Generation-Id: as recorded
    body = {"object": "list", "data": rows, "model": job.model.id.split("/")[-1], "usage": usage}
    return json_answer(body | {"provider": job.call.provider, "id": generation_id})


def _parse_inputs(value: object) -> list[str]:
    """Return the input as texts; it may be one text, several, or token lists."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise invalid_request("Invalid input: input: expected string or array")
    several = cast("list[object]", value)
    if all(isinstance(one, int) for one in several):
        return [repr(several)]
    return [one if isinstance(one, str) else repr(one) for one in several]


def _embed_text(text: str, dimensions: int) -> list[float]:
    """Return a unit vector; every word sets eight components, so shared words bring texts close."""
    values = [0.0] * dimensions
    for word in re.findall(r"\w+|[^\w\s]", text.lower())[:2000] or [text]:
        digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=32).digest()
        for offset in range(0, 32, 4):
            place = int.from_bytes(digest[offset : offset + 3]) % dimensions
            # signs let unrelated words cancel out, so that unrelated texts are far apart
            values[place] += 1.0 if digest[offset + 3] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [round(value / length, 9) for value in values]


def rerank(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /rerank`: the documents, the one closest to the query first."""
    return run_job(state, request, "rerank", _rerank)


def _parse_document(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise invalid_request("Invalid input: documents: expected strings or objects")
    return str(cast(JsonObject, value).get("text", ""))


def _rerank(job: EndpointJob) -> Answer:
    query = job.body.text("query")
    documents = job.body.body.get("documents")
    if not query or not isinstance(documents, list) or not documents:
        raise invalid_request("Invalid input: query and documents are required")
    texts = [_parse_document(one) for one in cast("list[object]", documents)]
    prompt = estimate_tokens(query) + sum(estimate_tokens(text) for text in texts)
    generation_id, charge = job.charge_tokens("rerank", BilledTokens(prompt=prompt))
    wanted = _embed_text(query, 512)
    scores = [
        (sum(map(float.__mul__, wanted, _embed_text(text, 512))), index)
        for index, text in enumerate(texts)
    ]
    scores.sort(key=lambda one: (-one[0], one[1]))
    results = [
        {
            "index": index,
            "relevance_score": round((score + 1) / 2, 6),
            "document": {"text": texts[index]},
        }
        for score, index in scores[: job.body.count("top_n") or len(scores)]
    ]
    body = {"model": job.model.id.split("/")[-1], "results": results}
    usage = {"total_tokens": prompt, "cost": to_json_number(charge.total)}
    return json_answer(body | {"usage": usage, "provider": job.call.provider, "id": generation_id})
