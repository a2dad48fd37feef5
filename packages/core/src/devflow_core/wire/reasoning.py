"""Keeps signed reasoning with its vendor: it is sent back to that vendor's models only.

A client of another dialect carries foreign reasoning in its own fields, sealed: what the vendor
needs is wrapped into the signature (or `encrypted_content`), and unwrapped when it comes back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from devflow_core.messages import Message, Reasoning
from devflow_core.wire import json_lenient as lenient

ANTHROPIC_FORMAT = "anthropic-claude-v1"
RESPONSES_FORMAT = "openai-responses-v1"
"""The values of `reasoning_details[].format` for what these two dialects carry."""
FOREIGN_REASONING = "thinking of another vendor's model"
"""The name of this omission in every encoder."""

_SEAL_PREFIX = "devflow1."
_MODEL_KEY = "devflow_model"
_OWN_FORMAT_SUFFIX = "-by-devflow"
# keywords of `reasoning_details[].format` that name a vendor (as described in 2026-08)
_VENDORS = (
    ("anthropic", "anthropic"),
    ("google", "google"),
    ("gemini", "google"),
    ("openai", "openai"),
    ("xai", "x-ai"),
)
_VENDOR_PREFIXES = (("claude", "anthropic"), ("gpt-", "openai"), ("gemini", "google"))


def vendor_of_model(model: str) -> str | None:
    """Return the vendor in a model's name; None for routers and names without one."""
    author, slash, _ = model.removeprefix("~").partition("/")
    if slash:
        return None if author == "openrouter" else author
    return next((vendor for start, vendor in _VENDOR_PREFIXES if model.startswith(start)), None)


def vendor_tag(model: str | None, own_format: str) -> dict[str, Any]:
    """Return the fields that tag reasoning with its vendor, in the dialect of `own_format`."""
    vendor = None if model is None else vendor_of_model(model)
    if vendor is None or vendor in own_format:
        return {"format": own_format}
    return {_MODEL_KEY: model}


def vendor_of(reasoning: Reasoning) -> str | None:
    """Return the vendor of this reasoning; None if it is not marked."""
    detail = reasoning.detail or {}
    if isinstance(model := detail.get(_MODEL_KEY), str):
        return vendor_of_model(model)
    form = str(detail.get("format") or "")
    if form.endswith(_OWN_FORMAT_SUFFIX):
        return form.removesuffix(_OWN_FORMAT_SUFFIX)
    return next((vendor for keyword, vendor in _VENDORS if keyword in form), None)


def is_foreign(reasoning: Reasoning, model: str) -> bool:
    """Return whether this reasoning is known to be from another vendor than the model."""
    vendor = vendor_of(reasoning)
    return vendor is not None and vendor != vendor_of_model(model)


def seal(reasoning: Reasoning, model: str | None) -> str:
    """Return all of the reasoning but its text as one opaque string; `unseal` reads it.

    Args:
        reasoning: the reasoning.
        model: the model it comes from, recorded unless the reasoning names its vendor; None records
            nothing.
    """
    detail = dict(reasoning.detail or {})
    if model is not None and vendor_of(reasoning) is None:
        detail[_MODEL_KEY] = model
    sealed = {"d": detail, "s": reasoning.signature, "e": reasoning.encrypted}
    return _SEAL_PREFIX + base64.urlsafe_b64encode(orjson.dumps(sealed)).decode()


def signature_for_anthropic(reasoning: Reasoning, model: str | None) -> str:
    """Return the signature of a thinking block: Anthropic's own, or a seal over any other."""
    is_native = vendor_of(reasoning) == "anthropic" and reasoning.encrypted is None
    if is_native and reasoning.signature is not None:
        return reasoning.signature
    return seal(reasoning, model)


def unseal(text: str, sealed_text: str) -> Reasoning | None:
    """Return the reasoning that `sealed_text` holds, with `text` as its text.

    None if the seal is broken or not ours.
    """
    if not is_sealed(sealed_text):
        return None
    try:
        raw: Any = orjson.loads(base64.urlsafe_b64decode(sealed_text[len(_SEAL_PREFIX) :]))
    except (binascii.Error, ValueError):
        return None
    sealed = lenient.as_object(raw)
    return Reasoning(
        text=text,
        signature=lenient.as_text(sealed.get("s")),
        encrypted=lenient.as_text(sealed.get("e")),
        detail=lenient.as_object(sealed.get("d")) or None,
    )


def open_seal(sealed_text: str, model: str) -> Reasoning | None:
    """Return the reasoning that `sealed_text` holds, without its text, to be sent to this model.

    None if the seal is broken or not ours, if the reasoning is another vendor's, or if its vendor
    did not send it in Anthropic's dialect.
    """
    sealed = unseal("", sealed_text)
    if sealed is None or "format" in (sealed.detail or {}) or is_foreign(sealed, model):
        return None
    return sealed


def detail_of(reasoning: Reasoning) -> dict[str, Any]:
    """Return the reasoning as an entry of `reasoning_details`."""
    detail = {key: value for key, value in (reasoning.detail or {}).items() if key != _MODEL_KEY}
    if "format" not in detail and (vendor := vendor_of(reasoning)) is not None:
        detail["format"] = f"{vendor}{_OWN_FORMAT_SUFFIX}"
    kind = detail.setdefault(
        "type", "reasoning.encrypted" if reasoning.encrypted else "reasoning.text"
    )
    if reasoning.encrypted is not None:
        detail["data"] = reasoning.encrypted
    if reasoning.text:
        detail["summary" if kind == "reasoning.summary" else "text"] = reasoning.text
    if reasoning.signature is not None:
        detail["signature"] = reasoning.signature
    return detail


def strip_foreign(messages: Sequence[Message], model: str) -> tuple[tuple[Message, ...], bool]:
    """Return the messages without foreign reasoning, and whether there was any.

    Messages that held nothing else are dropped.
    """
    remaining: list[Message] = []
    is_changed = False
    for message in messages:
        parts = tuple(
            part
            for part in message.parts
            if not isinstance(part, Reasoning) or not is_foreign(part, model)
        )
        if len(parts) == len(message.parts):
            remaining.append(message)
            continue
        is_changed = True
        if parts:
            remaining.append(replace(message, parts=parts))
    return tuple(remaining), is_changed


def is_sealed(signature: str) -> bool:
    """Return whether a signature, data or encrypted content is one that we sealed."""
    return signature.startswith(_SEAL_PREFIX)
