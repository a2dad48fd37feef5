"""`devflow statusline`: one line below Claude Code's prompt, with cost and model."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from devflow_core.errors import SessionError
from devflow_core.masking import escape_invisible
from devflow_core.usage import parse_decimal

from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json, decode_line
from devflow_claude_code.reading.session_cost import PriceOf
from devflow_claude_code.session import ClaudeCodeSession

_CENT = Decimal("0.01")


def render_status_line(
    stdin: bytes,
    *,
    price_of: PriceOf,
    spent_usd: Callable[[str], Decimal | None] | None = None,
) -> str:
    """Return the status line, without a line end; figures that are unknown are left out.

    Args:
        stdin: the JSON that Claude Code passes on standard input; anything else gives a line
            without figures.
        price_of: prices of the transcript's models, used if the client reports no cost.
        spent_usd: returns what the ledger has for a session id, None if nothing; shown beside
            the client's figure.
    """
    event = decode_line(stdin) or {}
    model = get_object(event, "model")
    fields = [
        "DevFlow",
        get_string(model, "display_name") or get_string(model, "id"),
        _cost_text(event, price_of),
        _gateway_cost_text(event, spent_usd),
        _window_text(event),
    ]
    return escape_invisible(" · ".join(field for field in fields if field)).replace("\n", " ")


def _cost_text(event: Json, price_of: PriceOf) -> str:
    cost = parse_decimal(get_object(event, "cost").get("total_cost_usd"))
    # the client's own figure includes calls that leave no row in the transcript
    if cost is not None:
        return f"${cost.quantize(_CENT)}"
    return _transcript_cost_text(get_string(event, "transcript_path"), price_of)


def _transcript_cost_text(path: str, price_of: PriceOf) -> str:
    if not path:
        return ""
    try:
        cost = ClaudeCodeSession.open(path).spend.cost(price_of)
    except SessionError:
        return ""
    return f"{'' if cost.is_complete else '≥ '}${cost.usd.quantize(_CENT)}"


def _gateway_cost_text(event: Json, spent_usd: Callable[[str], Decimal | None] | None) -> str:
    spent = spent_usd(get_string(event, "session_id")) if spent_usd is not None else None
    return f"${spent.quantize(_CENT)} through the gateway" if spent else ""


def _window_text(event: Json) -> str:
    used = parse_decimal(get_object(event, "context_window").get("used_percentage"))
    return "" if used is None else f"{round(used)} % of the window"
