"""`devflow models`: shows the catalogue, with measured speed and success."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_core.usage import Price
    from devflow_routing import ModelConfig, PerformanceTracker

models = typer.Typer(help="The catalogue, with measurements.", no_args_is_help=True)
app.add_typer(models, name="models")

MILLION = 1_000_000
"""The number of tokens that displayed prices refer to."""


@models.callback()
def _group() -> None:
    """Show the catalogue, with measurements."""


@command(models, "list", has_table=True)
def list_models(
    run: Run,
    search: Annotated[str | None, typer.Argument(help="Only ids that contain this.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many models at most.")] = 40,
    variants: Annotated[
        bool,
        typer.Option("--variants", help="A row for each variant (:free, :batch) of a model, too."),
    ] = False,
) -> None:
    """List models with prices, window, capabilities, and measured speed and success.

    Variants of a listed model are named in its row; --variants and --json give each its own.
    """
    from devflow_gateway import wiring

    from devflow_cli.views.tables import print_table

    settings = run.settings()
    catalogue = wiring.open_catalogue(settings).current
    measured = load_measurements(settings)
    rows = [_model_row(one, measured) for one in catalogue.models if not search or search in one.id]
    if run.as_json:
        run.emit({"version": catalogue.version, "models": rows})
        return
    if not variants:
        rows = _fold_variants(rows)
    columns = {
        "id": "Model",
        **({"variants": "Variants"} if any(row.get("variants") for row in rows) else {}),
        "prompt_usd_per_million": "$In /M",
        "completion_usd_per_million": "$Out /M",
        "context_length": ">Window",
        "ttft_p50_s": ">First s",
        "success_rate": ">Success",
        "capabilities": "Can",
    }
    print_table(
        run,
        columns,
        [{**row, "capabilities": _format_capabilities(row)} for row in rows[:limit]],
        drop=(
            "capabilities",
            "variants",
            "success_rate",
            "ttft_p50_s",
            "context_length",
            "completion_usd_per_million",
        ),
        text=("capabilities",),
    )
    if len(rows) > limit:
        run.say(f"… and {len(rows) - limit} more (use --limit, or give a part of the id).")


def _fold_variants(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out each variant whose model is in the list, and name it in that model's row."""
    listed = {row["id"] for row in rows}
    named: dict[str, list[str]] = {}
    kept: list[dict[str, Any]] = []
    for row in rows:
        base, _, variant = row["id"].partition(":")
        if variant and base in listed:
            named.setdefault(base, []).append(f":{variant}")
        else:
            kept.append(row)
    return [{**row, "variants": " ".join(named.get(row["id"], ()))} for row in kept]


@command(models)
def show(
    run: Run,
    model: Annotated[
        str, typer.Argument(help="A model id or alias.", autocompletion=complete_model)
    ],
) -> None:
    """Show one model: prices, window, capabilities and measurements."""
    from devflow_gateway import wiring

    settings = run.settings()
    catalogue = wiring.open_catalogue(settings).current
    row = _model_row(catalogue.find(model), load_measurements(settings))
    if run.as_json:
        run.emit(row)
        return
    for name, value in {**row, "capabilities": _format_capabilities(row)}.items():
        run.say(f"{name.replace('_', ' '):28} {'unknown' if value is None else value}")


@command(models)
async def refresh(run: Run) -> None:
    """Fetch the provider's list and show what changed: prices, new models, removed models."""
    from devflow_gateway import wiring

    settings = run.settings()
    with run.progress.status("Fetching the list of models …"):
        now, found = await wiring.refresh_catalogue(settings)
    changes = [dataclasses.asdict(one) for one in found]
    if run.as_json:
        run.emit({"models": len(now), "version": now.version, "changes": changes})
        return
    run.say(f"{len(now)} models, {len(changes)} changes.")
    for one in changes:
        run.say(
            f"  {one['model']}: {one['kind'].replace('_', ' ')} {one['before']} → {one['after']}"
        )


def load_measurements(settings: Settings) -> PerformanceTracker:
    """Return the speed and success of each model, from the last 7 days of this user's ledger.

    Without a ledger, the tracker is empty, and no ledger is created.
    """
    from datetime import timedelta

    from devflow_core.ledger import replay
    from devflow_gateway import wiring
    from devflow_routing import PerformanceTracker
    from devflow_store.measured import read_measured

    tracker = PerformanceTracker()
    if wiring.has_ledger(settings):
        # speed and success change: older measurements would mislead
        week = timedelta(days=7)
        replay(read_measured(wiring.make_store(settings), settings, week), tracker)
    return tracker


def _model_row(model: ModelConfig, measured: PerformanceTracker) -> dict[str, Any]:
    found = measured.snapshot(model.id)
    return {
        "id": model.id,
        "name": model.name,
        **_price_columns(model.price),
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": [one.name.lower() for one in model.capabilities if one.name],
        "tokenizer": model.tokenizer,
        "expires_on": model.expires_on,
        "ttft_p50_s": found.ttft_p50_s if found else None,
        "output_tokens_per_s": found.output_tokens_per_s if found else None,
        "success_rate": found.success_rate if found else None,
    }


def _price_columns(price: Price | None) -> dict[str, str | None]:
    """Return USD per million tokens, the usual unit for comparison; None if unknown."""
    from devflow_core.usage import usd_text

    def million(usd: Decimal | None) -> str | None:
        return None if usd is None else usd_text(usd * MILLION)

    return {
        "prompt_usd_per_million": million(price.prompt) if price else None,
        "completion_usd_per_million": million(price.completion) if price else None,
        "cache_read_usd_per_million": million(price.cache_read) if price else None,
        "cache_write_usd_per_million": million(price.cache_write) if price else None,
    }


def _format_capabilities(row: dict[str, Any]) -> str:
    return " ".join(row["capabilities"])
