"""The MCP tools over a gateway: `ask`, `handoff`, `report`, `explain`, as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devflow_claude_code import McpTools, hand_off
from devflow_claude_code.handoff.request import DEFAULT_PROMPT
from devflow_core.request import ChatRequest

from devflow_cli.lookup import find_handoff_target, find_session
from devflow_cli.options import GROUP_BY_OPTIONS, parse_time
from devflow_cli.views.reply import describe_completion, describe_route

if TYPE_CHECKING:
    from devflow_core.pipeline import Completion
    from devflow_core.settings import Settings
    from devflow_gateway.wiring import AsyncGateway


def build_mcp_tools(settings: Settings, gateway: AsyncGateway) -> McpTools:
    """The four tools; what they raise is told to the client by the MCP server."""

    async def ask(*, prompt: str, model: str = "auto", session: str | None = None) -> str:
        context = find_session(settings, session) if session else None
        request = ChatRequest.from_text(prompt, model=model)
        return _format_reply(await gateway.complete(request, session=context))

    async def handoff(
        *, session: str = "latest", model: str = "auto", prompt: str = DEFAULT_PROMPT
    ) -> str:
        from devflow_gateway import wiring

        found = find_session(settings, session)
        target = find_handoff_target(model, wiring.load_catalogue(settings))
        prepared = hand_off(found, prompt, target=target)
        return _format_reply(await gateway.complete(prepared.request))

    async def report(*, by: str = "model", since: str | None = None) -> str:
        from devflow_analytics import to_markdown
        from devflow_gateway import wiring

        made = wiring.make_report(
            settings, GROUP_BY_OPTIONS.get(by, "model"), since=parse_time(since)
        )
        return to_markdown(made)

    async def explain(*, prompt: str) -> str:
        return "\n".join(describe_route(gateway.explain(ChatRequest.from_text(prompt)), ()))

    return McpTools(ask=ask, handoff=handoff, report=report, explain=explain)


def _format_reply(reply: Completion) -> str:
    return "\n".join([reply.text, "", reply.route.chosen.model, *describe_completion(reply)])
