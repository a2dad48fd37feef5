"""Reads the labels of a request from its headers and body. They grant no rights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import orjson
from devflow_core.attribution import Attribution
from devflow_core.dimensions import HEADER_LABELS
from devflow_core.masking import mask
from devflow_core.messages import JsonObject

# our own header first: it is the only one that a user sets on purpose
_SESSION_HEADERS = ("x-devflow-session", "x-claude-code-session-id", "x-session-id")
_LEGACY_USER_ID = re.compile(r"_session_([0-9a-fA-F-]{36})$")
"""`user_<hash>_account__session_<uuid>`, as Claude Code up to 2.1.50 sends it."""
# git abbreviates to no fewer than 7 digits, and a SHA-256 hash has 64
_COMMIT_PATTERN = re.compile(r"[0-9a-f]{7,64}")
_LABEL_PATTERN = re.compile(r"[\w.:/@+~-]{1,128}")


def attribution_of(
    headers: Mapping[str, str], body: JsonObject, *, client_key: str, node: str | None
) -> Attribution:
    """Return the labels of a request, without values that are not plain labels or may be keys.

    Args:
        headers: names in lower case.
        body: the request's body.
        client_key: the name of the caller.
        node: the named task that the request is part of; None: of none.
    """
    agent = _clean_label(headers.get("x-claude-code-agent-id"))
    plain: dict[str, Any] = {
        field: _clean_label(headers.get(header)) for field, header in HEADER_LABELS.items()
    }
    return Attribution(
        **plain,
        session_id=_session_of(headers, body),
        commit=_clean_commit(headers.get("x-devflow-commit")),
        agent=agent or ("main" if is_claude_code(headers) else None),
        client_key=client_key,
        node=node,
    )


def is_claude_code(headers: Mapping[str, str]) -> bool:
    """Return whether the client is Claude Code or its agent SDK."""
    return headers.get("user-agent", "").startswith("claude-cli/")


def node_of(headers: Mapping[str, str], model: str) -> str | None:
    """Return the named task of a request, from its header or by the kind of Claude Code's request.

    None if it names none and is not from Claude Code, which gives its side calls (titles, topics,
    summaries) to a haiku model, and marks the requests of sub-agents with their id (2.1.197 and
    later).
    """
    named = _clean_label(headers.get("x-devflow-node"))
    if named is not None or not is_claude_code(headers):
        return named
    if headers.get("x-claude-code-agent-id"):
        return "subagent"
    return "small" if "haiku" in model else "main"


def _session_of(headers: Mapping[str, str], body: JsonObject) -> str | None:
    for name in _SESSION_HEADERS:
        label = _clean_label(headers.get(name))
        if label is not None:
            return label
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        return _session_from_user_id(cast("dict[str, Any]", metadata).get("user_id"))
    return None


def _session_from_user_id(user_id: object) -> str | None:
    """Return the session that Claude Code names in `metadata.user_id`; None if there is none.

    It is a field of a JSON object since 2.1.197, and a suffix before.
    """
    if not isinstance(user_id, str):
        return None
    if user_id.startswith("{"):
        try:
            reported = orjson.loads(user_id)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(reported, dict):
            return None
        return _clean_label(cast("dict[str, Any]", reported).get("session_id"))
    found = _LEGACY_USER_ID.search(user_id)
    return found.group(1) if found else None


def _clean_commit(value: str | None) -> str | None:
    return value if value is not None and _COMMIT_PATTERN.fullmatch(value) else None


def _clean_label(value: object) -> str | None:
    return value if isinstance(value, str) and _is_label(value) else None


# masking takes microseconds, and a session sends the same labels with every request
@lru_cache(maxsize=2048)
def _is_label(value: str) -> bool:
    """Return whether a text is a plain label, and not a key sent in the wrong header."""
    return _LABEL_PATTERN.fullmatch(value) is not None and mask(value) == value
