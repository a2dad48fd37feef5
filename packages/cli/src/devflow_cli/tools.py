"""The MCP tools over a gateway: `ask`, `handoff`, `report`, `explain`, as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devflow_claude_code import McpTools
from devflow_claude_code.handoff import DEFAULT_PROMPT
from devflow_core.chat import ChatRequest

from devflow_cli.answers import after, before
from devflow_cli.sources import find_session

if TYPE_CHECKING:
    from devflow_core.pipeline import Completion
    from devflow_core.settings import Settings
    from devflow_openrouter import OpenRouterGateway


def mcp_tools(settings: Settings, gateway: OpenRouterGateway) -> McpTools:
    """The four tools; what they raise is told to the client by the MCP server."""

    async def ask(*, prompt: str, model: str = "auto", session: str | None = None) -> str:
        context = find_session(settings, session) if session else None
        request = ChatRequest.from_text(prompt, model=model)
        return _told(await gateway.complete(request, session=context))

    async def handoff(
        *, session: str = "latest", model: str = "auto", prompt: str = DEFAULT_PROMPT
    ) -> str:
        from devflow_server import wiring

        from devflow_cli.commands.handoff import target

        found = find_session(settings, session)
        where = target(model, wiring.catalogue(settings))
        prepared = found.handoff(prompt, target=where)
        return _told(await gateway.complete(prepared.request))

    async def report(*, by: str = "model", since: str | None = None) -> str:
        from devflow_openrouter.analytics import to_markdown

        from devflow_cli.commands.report import BY, make_report, moment

        return to_markdown(make_report(settings, BY.get(by, "model"), since=moment(since)))

    async def explain(*, prompt: str) -> str:
        return "\n".join(before(gateway.explain(ChatRequest.from_text(prompt)), ()))

    return McpTools(ask=ask, handoff=handoff, report=report, explain=explain)


def _told(reply: Completion) -> str:
    return "\n".join([reply.text, "", reply.route.chosen.model, *after(reply)])
