"""`devflow statusline`: one line below Claude Code's prompt, with cost and model."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from devflow_core.errors import SessionError

from devflow_claude_code.context.masking import reveal
from devflow_claude_code.reading.content import mapping, string
from devflow_claude_code.reading.rows import Json, decode
from devflow_claude_code.reading.session_cost import PriceOf
from devflow_claude_code.session import ClaudeCodeSession

_CENT = Decimal("0.01")


def status_line(
    stdin: bytes,
    *,
    price_of: PriceOf,
    spent_usd: Callable[[str], Decimal | None] | None = None,
) -> str:
    """The line for what Claude Code writes to a status line's standard input.

    Args:
        stdin: its JSON; anything else gives a line without figures.
        price_of: prices of the transcript's models, where the client tells no cost.
        spent_usd: what the ledger has for a session id; shown beside the client's figure.
    """
    told = decode(stdin) or {}
    model = mapping(told, "model")
    fields = [
        "DevFlow",
        string(model, "display_name") or string(model, "id"),
        _cost(told, price_of),
        _through_gateway(told, spent_usd),
        _window(told),
    ]
    return reveal(" · ".join(field for field in fields if field)).replace("\n", " ")


def _cost(told: Json, price_of: PriceOf) -> str:
    cost = _decimal(mapping(told, "cost").get("total_cost_usd"))
    if cost is None:
        cost = _from_transcript(string(told, "transcript_path"), price_of)
    return "" if cost is None else f"${cost.quantize(_CENT)}"


def _from_transcript(path: str, price_of: PriceOf) -> Decimal | None:
    if not path:
        return None
    try:
        return ClaudeCodeSession.open(path).spend.cost_usd(price_of)
    except SessionError:
        return None


def _through_gateway(told: Json, spent_usd: Callable[[str], Decimal | None] | None) -> str:
    spent = spent_usd(string(told, "session_id")) if spent_usd is not None else None
    return f"${spent.quantize(_CENT)} through the gateway" if spent else ""


def _window(told: Json) -> str:
    used = _decimal(mapping(told, "context_window").get("used_percentage"))
    return "" if used is None else f"{round(used)} % of the window"


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
