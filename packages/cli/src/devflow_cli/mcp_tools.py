"""Implements the MCP tools `ask`, `handoff`, `report` and `explain` over a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from devflow_claude_code import McpTools, hand_off
from devflow_claude_code.handoff.request import DEFAULT_PROMPT
from devflow_core.dimensions import read_dimensions
from devflow_core.errors import InvalidRequest
from devflow_core.request import ChatRequest
from devflow_gateway.handoff import find_handoff_target

from devflow_cli.lookup import describe_session, find_project_session
from devflow_cli.times import parse_period
from devflow_cli.views.reply import describe_completion, describe_route

if TYPE_CHECKING:
    from pathlib import Path

    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.pipeline import Completion
    from devflow_core.settings import Settings
    from devflow_gateway.wiring import AsyncGateway


def build_mcp_tools(settings: Settings, gateway: AsyncGateway, folder: Path) -> McpTools:
    """Build the four tools; their errors are reported to the client by the MCP server.

    The client is a model that may repeat what a stranger wrote. It can therefore name only
    sessions of this project, by their ids, and no other file of the user.

    Args:
        settings: the process's settings.
        gateway: answers the requests; the caller closes it.
        folder: the project's folder.
    """

    async def ask(*, prompt: str, model: str = "auto", session: str | None = None) -> str:
        context = find_project_session(settings, session, folder) if session else None
        request = ChatRequest.from_text(prompt, model=model)
        reply = await gateway.complete(request, session=context)
        return _format_reply(reply, context)

    async def handoff(
        *, session: str = "latest", model: str = "auto", prompt: str = DEFAULT_PROMPT
    ) -> str:
        found = find_project_session(settings, session, folder)
        target = find_handoff_target(model, gateway.catalogue.current, settings.aliases)
        # the request holds the whole conversation, so no session is injected as well
        prepared = hand_off(found, prompt, target=target)
        return _format_reply(await gateway.complete(prepared.request), found)

    async def report(*, by: str = "model", since: str | None = None) -> str:
        from devflow_analytics import to_markdown
        from devflow_gateway import wiring

        dimensions = read_dimensions(by)
        try:
            since_at, until_at = parse_period(settings, since)
        # the MCP server passes on our errors only; one of Typer's would look like a bug
        except typer.BadParameter as error:
            raise InvalidRequest(f"since: {error.message}.") from None
        return to_markdown(wiring.make_report(settings, dimensions, since=since_at, until=until_at))

    async def explain(*, prompt: str) -> str:
        return "\n".join(describe_route(gateway.explain(ChatRequest.from_text(prompt)), ()))

    return McpTools(ask=ask, handoff=handoff, report=report, explain=explain)


def _format_reply(reply: Completion, session: ClaudeCodeSession | None) -> str:
    of_session = [describe_session(session)] if session is not None else []
    return "\n".join(
        [reply.text, "", *of_session, reply.route.chosen.model, *describe_completion(reply)]
    )
