"""Plays the demo's second scene: a budget refuses, a fallback answers, the choice is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow_cli.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devflow_core.settings import Settings

ASKED = "anthropic/claude-opus-4.5"
"""The model that the scene asks for."""
FALLBACKS = ("anthropic/claude-sonnet-4.5", "deepseek/deepseek-v3.2")
"""The models that may answer instead, in this order; only the last one fits into the budget."""
LIMIT_USD = "0.01"
"""The limit of the scene's budget, per request."""
MAX_OUTPUT_TOKENS = 1_500
"""The longest reply, which bounds what a call may cost."""
QUESTION = "Explain in three sentences why a retry needs an idempotency key."
BUDGET_ID = "demo"


async def play_budget_scene(run: Run, settings: Settings) -> dict[str, Any]:
    """Ask for a model that a budget does not allow; show and return what happens.

    The budget is set in the settings' ledger, and removed at the end.
    """
    from dataclasses import replace
    from decimal import Decimal

    from devflow_core.request import ChatRequest
    from devflow_core.usage import usd_text
    from devflow_gateway import wiring
    from devflow_routing import route_as_json
    from devflow_store import Budget

    budget = Budget(id=BUDGET_ID, scope="global", window="request", limit_usd=Decimal(LIMIT_USD))
    request = ChatRequest.from_text(QUESTION, model=ASKED)
    request = replace(request, max_output_tokens=MAX_OUTPUT_TOKENS)
    async with wiring.make_store(settings) as store:
        await store.budgets.set(budget)
    try:
        with_fallbacks = settings.model_copy(update={"fallback_models": FALLBACKS})
        async with wiring.open_gateway(with_fallbacks) as gateway:
            reply = await gateway.complete(request)
    finally:
        async with wiring.make_store(settings) as store:
            await store.budgets.remove(BUDGET_ID)
    route = route_as_json(reply.route)
    names = [one["model"] for one in route["candidates"]]
    scene = {
        "question": QUESTION,
        "budget_usd": LIMIT_USD,
        "refused": names[: names.index(reply.model)],
        "answered": reply.model,
        "cost_usd": usd_text(reply.cost_usd),
        "entry_id": reply.entry.entry_id,
        "route": route,
    }
    for line in _describe(scene, route["candidates"]):
        run.say(line)
    return scene


def _describe(scene: dict[str, Any], candidates: Sequence[dict[str, Any]]) -> list[str]:
    from decimal import Decimal

    from devflow_core.usage import format_usd

    def money(text: str) -> str:
        return format_usd(Decimal(text))

    limit = money(scene["budget_usd"])
    lines = [
        f"Now with a budget: one request may cost {limit} at most.",
        "",
        f"Asked    {ASKED}: {QUESTION}",
    ]
    for one in candidates:
        if one["model"] in scene["refused"]:
            most = money(one["worst_case_usd"])
            lines.append(
                f"Refused  {one['model']} by the budget: it may cost {most}. Nothing was sent."
            )
        elif one["model"] == scene["answered"]:
            most, cost = money(one["worst_case_usd"]), money(scene["cost_usd"])
            lines.append(f"Answered {one['model']}: it may cost {most}, and cost {cost}.")
    why = "; ".join(f"{one['model']}, {one['reason']}" for one in candidates)
    return [*lines, f"Choice   {why}", f"Entry    {scene['entry_id']}", ""]
