"""Cuts the list of models into pages, as Anthropic's `GET /v1/models` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from devflow_core.errors import InvalidRequest

from devflow_server.requests.reader import DISCOVERY_PREFIX

MAX_PAGE_MODELS = 1_000
"""The largest page, and the page without `limit`: many clients read only the first page, and
Anthropic's default of 20 would hide most models from them."""


def model_page(entries: Sequence[Mapping[str, Any]], query: str) -> dict[str, Any]:
    """Return the page of models that a query asks for, in Anthropic's shape.

    Args:
        entries: every model that may be listed, in OpenAI's shape.
        query: the query of the request: `limit` (1 to 1,000), and the id that the page follows
            (`after_id`) or precedes (`before_id`).

    Raises:
        InvalidRequest: `limit` is out of range, both ids are given, or an id is not in the list.
    """
    asked = dict(parse_qsl(query))
    limit = _parse_limit(asked.get("limit", str(MAX_PAGE_MODELS)))
    if "after_id" in asked and "before_id" in asked:
        raise InvalidRequest("after_id, before_id: send only one of them.")
    if "before_id" in asked:
        end = _find(entries, asked["before_id"], "before_id")
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = _find(entries, asked["after_id"], "after_id") + 1 if "after_id" in asked else 0
        end = start + limit
        has_more = end < len(entries)
    page = [model_as_anthropic(entry) for entry in entries[start:end]]
    return {
        "data": page,
        "has_more": has_more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def model_as_anthropic(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model in Anthropic's shape, with an id that Claude Code's discovery accepts."""
    model = str(entry["id"])
    is_listed = "claude" in model or "anthropic" in model
    return {
        "type": "model",
        "id": model if is_listed else DISCOVERY_PREFIX + model,
        "display_name": entry.get("name") or model,
        "created_at": datetime.fromtimestamp(entry.get("created") or 0, UTC).isoformat(),
    }


def _parse_limit(text: str) -> int:
    # short texts only: parsing thousands of digits takes long
    is_number = text.isascii() and text.isdigit() and len(text) < 7
    if not (is_number and 1 <= int(text) <= MAX_PAGE_MODELS):
        raise InvalidRequest(f"limit: send a number from 1 to {MAX_PAGE_MODELS}.")
    return int(text)


def _find(entries: Sequence[Mapping[str, Any]], model: str, field: str) -> int:
    """Return the index of a model by its id, with or without the prefix of a foreign one.

    Raises:
        InvalidRequest: it is not listed; the message names the field.
    """
    wanted = model.removeprefix(DISCOVERY_PREFIX)
    for index, entry in enumerate(entries):
        if entry["id"] == wanted:
            return index
    raise InvalidRequest(f"{field}: no model of this id is listed; start again without it.")
