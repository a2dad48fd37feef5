"""Runs the checks against a URL and collects their findings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from devflow_core.addresses import (
    hide_user_info,
    parse_address,
    parse_confidential_address,
)
from devflow_core.errors import ConfigurationError

from devflow_cli.conformance import contract
from devflow_cli.conformance.claude_code import CHECKS as CLAUDE_CODE_CHECKS
from devflow_cli.conformance.gateway_under_test import CheckFailed, GatewayUnderTest

# A slow model may take this long for a few tokens; a gateway that hangs must still be reported.
_TIMEOUT_S = 60.0
Check = Callable[[GatewayUnderTest], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    """Whether the gateway keeps the promise."""
    detail: str
    """What was seen, or what is wrong and what it breaks."""
    clause: str
    """The promise to clients that was checked."""


async def run_checks(
    url: str, *, key: str | None = None, claude_code: bool = False
) -> list[Finding]:
    """Check a gateway with small requests; models answer some of them, which costs as much.

    Args:
        url: the gateway's, without `/v1`.
        key: a client key of the gateway.
        claude_code: also check every clause that Claude Code relies on.

    Returns:
        One finding per check; a check that cannot run is a finding that is not ok.

    Raises:
        ConfigurationError: the URL is invalid, or would send the key unencrypted.
    """
    try:
        (parse_confidential_address if key else parse_address)(url)
    except ValueError as error:
        raise ConfigurationError(
            f"The URL {hide_user_info(url)!r} cannot be checked: {error}."
        ) from None
    headers = {"authorization": f"Bearer {key}"} if key else {}
    chosen = [*contract.CHECKS, *(CLAUDE_CODE_CHECKS if claude_code else ())]
    async with httpx.AsyncClient(
        # trust_env: a proxy of the environment would be checked instead of the gateway
        base_url=url.rstrip("/"),
        headers=headers,
        timeout=_TIMEOUT_S,
        trust_env=False,
    ) as client:
        return [await _run_check(GatewayUnderTest(client), check) for check in chosen]


async def _run_check(gateway: GatewayUnderTest, check: Check) -> Finding:
    name = check.__name__
    # the docstring is the clause, so that promise and check cannot drift apart
    clause = (check.__doc__ or "").strip().partition("\n")[0]
    try:
        detail = await check(gateway)
    except CheckFailed as failure:
        return Finding(name=name, ok=False, detail=str(failure), clause=clause)
    # a reply of the wrong shape is a finding about the gateway, not a bug of the check
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        said = f"{type(error).__name__}: {error}"[:200]
        return Finding(name=name, ok=False, detail=said, clause=clause)
    return Finding(name=name, ok=True, detail=detail, clause=clause)
