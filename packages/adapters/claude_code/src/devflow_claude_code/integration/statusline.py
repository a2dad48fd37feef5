"""`devflow statusline`: one line below Claude Code's prompt, with model, cost and window."""

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

MAX_LINE_CHARS = 60
"""The width that the line keeps to: a narrow terminal would cut its end, where the cost is."""
_MIN_MODEL_CHARS = 8
_CENT = Decimal("0.01")


def render_status_line(
    stdin: bytes,
    *,
    price_of: PriceOf,
    spent_usd: Callable[[str], Decimal | None] | None = None,
) -> str:
    """Return the status line, without a line end; figures that are unknown are left out.

    It shows one cost and says whose figure that is: the ledger's, if the session went through the
    gateway, else the client's own, else the transcript's.

    Args:
        stdin: the JSON that Claude Code passes on standard input; anything else gives a line
            without figures.
        price_of: prices of the transcript's models, used if neither ledger nor client has a cost.
        spent_usd: returns what the ledger has for a session id, None if nothing.
    """
    event = decode_line(stdin) or {}
    model = get_object(event, "model")
    name = _show(get_string(model, "display_name") or get_string(model, "id"))
    figures = [
        field for field in (_cost_text(event, price_of, spent_usd), _window_text(event)) if field
    ]
    taken = sum(len(field) + len(" · ") for field in ("DevFlow", *figures))
    fields = ["DevFlow", _shorten(name, MAX_LINE_CHARS - taken), *figures]
    return " · ".join(field for field in fields if field)


def _cost_text(
    event: Json, price_of: PriceOf, spent_usd: Callable[[str], Decimal | None] | None
) -> str:
    spent = spent_usd(get_string(event, "session_id")) if spent_usd is not None else None
    if spent is not None:
        return f"${spent.quantize(_CENT)} in the ledger"
    cost = parse_decimal(get_object(event, "cost").get("total_cost_usd"))
    # the client's own figure includes calls that leave no row in the transcript
    if cost is not None:
        return f"${cost.quantize(_CENT)} by Claude Code"
    return _transcript_cost_text(get_string(event, "transcript_path"), price_of)


def _transcript_cost_text(path: str, price_of: PriceOf) -> str:
    if not path:
        return ""
    try:
        cost = ClaudeCodeSession.open(path).spend.cost(price_of)
    except SessionError:
        return ""
    return f"{'' if cost.is_complete else '≥ '}${cost.usd.quantize(_CENT)} at list price"


def _window_text(event: Json) -> str:
    used = parse_decimal(get_object(event, "context_window").get("used_percentage"))
    return "" if used is None else f"window {round(used)} %"


def _show(text: str) -> str:
    return escape_invisible(text).replace("\n", " ")


def _shorten(name: str, room: int) -> str:
    """Return a model's name in at most `room` characters; its maker is left out first."""
    room = max(room, _MIN_MODEL_CHARS)
    if len(name) > room:
        name = name.rpartition("/")[2] or name
    return name if len(name) <= room else f"{name[: room - 1]}…"
