"""`devflow explain`: shows all candidates, their scores and the exclusions, without any call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_entry, complete_model
from devflow_cli.options import FloorOption, apply_options
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.request import ChatRequest
    from devflow_core.settings import Settings


@command(app, has_table=True)
async def explain(
    run: Run,
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="A prompt, or the id of a ledger entry.", autocompletion=complete_entry
        ),
    ] = None,
    request: Annotated[
        Path | None, typer.Option(help="A JSON request, in any of the dialects.")
    ] = None,
    model: Annotated[str, typer.Option(help="See `ask`.", autocompletion=complete_model)] = "auto",
    cost_priority: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    performance_priority: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    floor: FloorOption = None,
) -> None:
    """Show how a model would be chosen, or was: the task, each candidate, the exclusions.

    No model is called. The id of a ledger entry, such as `req_…`, replays its decision.
    """
    from devflow_core.request import ChatRequest
    from devflow_gateway import wiring
    from devflow_routing import route_as_json

    from devflow_cli.views.explanation import print_explanation
    from devflow_cli.views.lean import lean_route

    settings = run.settings()
    if (prompt is None) == (request is None):
        raise typer.BadParameter("give a prompt, an entry id, or --request FILE")
    shown: dict[str, Any]
    # ids of ledger entries begin so; a prompt hardly does
    if prompt is not None and prompt.startswith("req_"):
        shown = _replay_decision(settings, prompt)
    else:
        asked = (
            _read_request(request) if request else ChatRequest.from_text(prompt or "", model=model)
        )
        asked = apply_options(asked, cost_priority, performance_priority, None, floor)
        async with wiring.open_gateway(settings) as gateway:
            shown = route_as_json(gateway.explain(asked))
    if run.as_json:
        run.emit(shown, lean_route)
    else:
        print_explanation(run, shown)


def _replay_decision(settings: Settings, entry_id: str) -> dict[str, Any]:
    """Replay the decision of a ledger entry from its record.

    Raises:
        NotFound: no such entry exists, or it holds no decision: it ended before a model was chosen,
            or asked for embeddings.
    """
    import orjson
    from devflow_core.errors import NotFound
    from devflow_gateway import wiring
    from devflow_routing import route_as_json

    from devflow_cli.lookup import find_entry

    entry = find_entry(settings, entry_id)
    if entry.decision is None and entry.attempts:
        raise NotFound(
            f"{entry_id} asked {entry.requested_model} by name, as requests for embeddings do, so "
            "there was no decision. `devflow explain PROMPT` shows one."
        )
    if entry.decision is None:
        raise NotFound(f"{entry_id} ended before a model was chosen: {entry.error_code}.")
    router = wiring.make_router(settings)
    shown = route_as_json(router.replay(entry.decision, include_all=True))
    # what the checks said is known from the record alone
    if (checked := orjson.loads(entry.decision).get("verification")) is not None:
        shown["verification"] = checked
    return shown


def _read_request(path: Path) -> ChatRequest:
    """Read a request body; its dialect is recognized by its fields.

    Raises:
        InvalidRequest: it cannot be read, or is not a request.
    """
    from devflow_core import wire
    from devflow_core.errors import InvalidRequest

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None
    body = wire.parse_body(content)
    return wire.guess_dialect(body).decode_request(body, {})
