"""Plans how `devflow claude` starts the real Claude Code against the gateway, for one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson
from devflow_core.errors import ConfigurationError

_OVERRIDDEN_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""Variables of the caller's environment that would send requests or keys elsewhere."""
_WINDOW_VARIABLES = ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_AUTO_COMPACT_WINDOW")
"""The variables that set the window and cap how much of it is filled.

The first is the window of models that the client does not know; the second caps, for any model,
what the client fills before it compacts. Both exist since 2.1.197.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The command line and the environment that start Claude Code."""

    argv: tuple[str, ...]
    """The program and its arguments, without the client key."""
    environment: Mapping[str, str] = field(repr=False)
    """The program's whole environment; contains the client key."""


def plan_launch(
    gateway_url: str,
    client_key: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    program: str = "claude",
    window_tokens: int | None = None,
) -> LaunchPlan:
    """Plan the command line and environment of Claude Code for this run only.

    The gateway's address and key come from the caller alone. They are set in the environment and,
    with precedence over every settings file, with `--settings`: a repository whose
    `.claude/settings.json` names another address cannot send the key there.

    Args:
        gateway_url: the root of the gateway, without `/v1`.
        client_key: a client key of the gateway.
        arguments: passed on unchanged.
        environment: the caller's, without provider keys: every program Claude Code runs sees it.
        program: name or path of Claude Code.
        window_tokens: the context window of a model that the client does not know, passed on unless
            the user has set one; None: nothing is. Versions up to 2.1.50 take every window for
            200,000.

    Raises:
        ConfigurationError: the address is invalid or ends in `/v1`, or the arguments contain
            `--settings`.
    """
    url = gateway_url.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.endswith("/v1"):
        raise ConfigurationError(
            f"{gateway_url!r} is not an address for Claude Code: give the gateway's root, such as"
            " http://127.0.0.1:8420, without /v1."
        )
    if any(one == "--settings" or one.startswith("--settings=") for one in arguments):
        raise ConfigurationError(
            "devflow claude passes its own settings to Claude Code; put yours into a settings"
            " file instead of --settings."
        )
    ours = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": client_key,
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        # omits a fingerprint from the start of the system prompt, where it defeats prompt caches
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }
    if window_tokens is not None:
        window = str(window_tokens)
        ours |= {name: environment.get(name) or window for name in _WINDOW_VARIABLES}
    inherited = {
        name: value for name, value in environment.items() if name not in _OVERRIDDEN_VARIABLES
    }
    pinned = {**ours, **{name: "" for name in _OVERRIDDEN_VARIABLES if name not in ours}}
    del pinned["ANTHROPIC_AUTH_TOKEN"]  # not on a command line that others can read
    settings = orjson.dumps({"env": pinned}).decode()
    return LaunchPlan(
        argv=(program, "--settings", settings, *arguments), environment={**inherited, **ours}
    )
