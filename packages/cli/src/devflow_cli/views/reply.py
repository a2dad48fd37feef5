"""Sends a request and shows the reply as it arrives: for `ask`, `handoff` and `demo`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from devflow_core import log
from devflow_core.events import TextDelta
from devflow_core.ledger import RESERVED, LedgerEntry
from devflow_core.pipeline import Completion, Reply
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.usage import Usage, format_usd, usd_text

if TYPE_CHECKING:
    from devflow_core.ports import ContextInjector
    from devflow_core.request import ContextPiece
    from devflow_core.routing import Route
    from devflow_gateway.wiring import AsyncGateway

    from devflow_cli.run import Run


async def ask_and_show(
    run: Run,
    gateway: AsyncGateway,
    request: ChatRequest,
    *,
    session: ContextInjector | None = None,
    is_streamed: bool = True,
    write_line: Callable[[str], None] | None = None,
) -> Completion:
    """Send a request and show the reply, with the chosen model before it and the cost after it.

    Args:
        run: where to show it; with `--json` nothing is shown.
        gateway: answers the request.
        request: the request to send.
        session: adds its context to the request.
        is_streamed: whether to show the reply as it arrives, or only when it is complete.
        write_line: called with the lines around the reply; None writes them to standard error.

    Raises:
        DevFlowError: any error of the gateway; the ledger holds the entry by then.
        asyncio.CancelledError: the user interrupted it; a line has said what it cost.
    """
    write_line = write_line or run.remark
    collector = Collector()
    known = len(gateway.recent_entries)
    # the line of the model says it
    quiet = nullcontext() if run.as_json else log.leaving_out("model.substituted")
    try:
        with quiet:
            async with gateway.stream(request, session=session) as reply:
                if not run.as_json:
                    for line in (*describe_route(reply.route, reply.request.context), ""):
                        write_line(line)
                await _show(run, reply, collector, is_streamed=is_streamed)
    except asyncio.CancelledError:
        # Ctrl-C: the entry is durable by now, and its cost is spent
        for entry in gateway.recent_entries[known:]:
            run.say()
            write_line(describe_interruption(entry))
        raise
    completion = reply.complete(collector)
    run.say("" if is_streamed else completion.response.text)
    if not run.as_json:
        for line in ("", *describe_completion(completion)):
            write_line(line)
    return completion


async def _show(run: Run, reply: Reply, collector: Collector, *, is_streamed: bool) -> None:
    async for event in reply:
        collector.add(event)
        if is_streamed and isinstance(event, TextDelta):
            run.say(event.text, end="")


def describe_route(route: Route, context: tuple[ContextPiece, ...]) -> list[str]:
    """Describe the decision before the call, in lines: context, task, model and reasons."""
    lines: list[str] = []
    if context:
        tokens = sum(piece.tokens for piece in context)
        kinds = ", ".join(dict.fromkeys(piece.kind for piece in context))
        lines.append(f"Context  {len(context)} pieces, {tokens} tokens ({kinds})")
    task = route.task
    reasons = f": {'; '.join(task.reasons[:4])}" if task.reasons else ""
    lines.append(f"Task     {task.type}, {task.complexity} ({task.confidence:.2f}){reasons}")
    lines.append(f"Model    {route.chosen.model}: {route.chosen.reason}")
    others = ", ".join(one.model for one in route.candidates[1:4])
    if others:
        lines.append(f"Then     {others}")
    return lines


def describe_completion(completion: Completion) -> list[str]:
    """Describe the finished call, in lines: tokens, cost, time, attempts, entry."""
    usage, entry = completion.usage, completion.entry
    cached = f" ({usage.cache_read_tokens} from cache)" if usage.cache_read_tokens else ""
    thought = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    lines = [
        f"Tokens   {usage.prompt_tokens} in{cached}, {usage.completion_tokens} out{thought}",
        f"Cost     {format_usd(completion.cost_usd)} ({entry.cost_status})",
        f"Time     {entry.ttft_s or 0:.2f} s to the first token, {entry.total_s:.2f} s in all",
    ]
    if (checked := completion.route.verification) is not None:
        asked_usd = sum((one.check_usd for one in checked.steps), Decimal(0))
        more = f"; checks cost {format_usd(asked_usd)}" if asked_usd else ""
        lines.append(f"Checked  {completion.model}: {checked.summary}{more}")
    if len(entry.attempts) > 1:
        others = [one for one in entry.attempts if one is not entry.final_attempt]
        told = ", ".join(f"{one.model}: {one.error_code or one.check}" for one in others)
        lines.append(f"Attempts {len(entry.attempts)} ({told})")
    lines.append(f"Entry    {entry.entry_id}  (devflow explain {entry.entry_id})")
    return lines


def describe_interruption(entry: LedgerEntry) -> str:
    """Describe in one line what a request cost that was left before its end."""
    cost, status = f"{usd_text(entry.cost_usd)} USD", entry.cost_status
    if status == "void":
        paid = "nothing: no model had begun to answer"
    elif status == "settled":
        paid = f"{cost} (settled)"
    elif any(one.cost_source == RESERVED for one in entry.attempts):
        paid = f"{cost}: all that was reserved, since the provider reports no figure"
    elif status == "observed":
        paid = f"{cost} for what came of the reply; the provider reports no figure"
    else:
        paid = f"at least {cost}; `devflow ledger reconcile` asks the provider for the figure"
    return f"Cost     {paid}. Entry {entry.entry_id}"


def completion_document(completion: Completion, route: dict[str, Any]) -> dict[str, Any]:
    """Return a finished call as JSON values; money is decimal text in USD.

    Args:
        completion: the call.
        route: its route, as `route_as_json` gives it.
    """
    return {
        "entry_id": completion.entry.entry_id,
        "model": completion.model,
        "provider": completion.provider,
        "text": completion.text,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in completion.tool_calls
        ],
        "finish_reason": completion.finish_reason,
        "generation_id": completion.generation_id,
        "attempts": len(completion.entry.attempts),
        "cost_usd": usd_text(completion.cost_usd),
        "cost_status": completion.entry.cost_status,
        "usage": usage_document(completion.usage),
        "route": route,
        "context": {
            "tokens": sum(piece.tokens for piece in completion.context),
            "pieces": [piece.as_json() for piece in completion.context],
        },
    }


def usage_document(usage: Usage) -> dict[str, int]:
    """Return the five disjoint token counts as a JSON object."""
    counts = dataclasses.asdict(usage)
    del counts["cache_write_1h_tokens"]
    return counts
