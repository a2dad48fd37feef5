"""Decides what `devflow claude` tells Claude Code about its model, and finds the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from devflow_core.attribution import Attribution
    from devflow_core.settings import Settings

WINDOW_OF_AUTO_TOKENS = 200_000
"""The window that the client is told for `auto`, whose model differs with each request: the
smallest of the Claude models. The router excludes models that cannot hold a request."""


def find_window_tokens(settings: Settings, model: str | None) -> int | None:
    """Return the context window to tell the client, in tokens; None to tell it nothing.

    The client knows Claude models; it is told nothing about unknown models either.

    Args:
        settings: contain the aliases, and the model of the node `main`.
        model: the model that was asked for; None is that of the node.
    """
    from devflow_core.wire.anthropic_messages.resumable import is_signed_by_anthropic
    from devflow_gateway import wiring
    from devflow_routing.policy import RoutingPolicy

    named = model or settings.nodes.get("main", {}).get("model")
    if not isinstance(named, str) or is_signed_by_anthropic(named):
        return None
    name = RoutingPolicy(aliases=settings.aliases).resolve(named)
    # `auto:cheap` and the other modes too
    if name.partition(":")[0] == "auto":
        return WINDOW_OF_AUTO_TOKENS
    found = wiring.open_catalogue(settings).current.lookup(name)
    return None if found is None or is_signed_by_anthropic(found.id) else found.context_length


def free_main_node(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """Return the nodes with no model set for `main`, for a run whose client names the model."""
    main = {key: value for key, value in settings.nodes.get("main", {}).items() if key != "model"}
    return {**settings.nodes, "main": main}


class SessionWatch:
    """Labels requests, and remembers which session they belong to.

    Args:
        label: completes the labels of a request.
    """

    def __init__(self, label: Callable[[Attribution], Attribution]) -> None:
        self.session_id: str | None = None
        """The session of the latest request of the main conversation; None before there is one."""
        self._label = label

    def __call__(self, attribution: Attribution) -> Attribution:
        """Return the completed labels of one request."""
        if attribution.agent == "main" and attribution.session_id is not None:
            self.session_id = attribution.session_id
        return self._label(attribution)


def find_way_back(settings: Settings, session_id: str | None) -> str | None:
    """Return the command that resumes a session in the plain client; None without a transcript."""
    from devflow_claude_code import ClaudeCodeSession, resume_command
    from devflow_core.errors import SessionError

    if session_id is None:
        return None
    try:
        session = ClaudeCodeSession.find(session_id, config_dir=settings.claude_dir)
    except SessionError:
        return None
    return resume_command(session.session_id, session.project or str(Path.cwd()))
