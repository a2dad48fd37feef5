"""`devflow models`: shows the catalogue, with measured speed and success."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model
from devflow_cli.run import Run, command
from devflow_cli.views.ages import ages_as_json, describe_ages, say_ages

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_core.usage import Price
    from devflow_routing import Catalogue, LiveCatalogue, ModelConfig, PerformanceTracker

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

    settings = run.settings()
    live = wiring.open_catalogue(settings)
    catalogue = live.current
    measured = load_measurements(settings)
    rows = [_model_row(one, measured) for one in _search(catalogue, search or "")]
    if run.as_json:
        run.emit({"version": catalogue.version, **ages_as_json(live), "models": rows})
        return
    if not variants:
        rows = _fold_variants(rows)
    _print_models(run, rows, limit)
    say_ages(run, live)


def _print_models(run: Run, rows: list[dict[str, Any]], limit: int) -> None:
    from devflow_cli.views.tables import print_table

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


def _search(catalogue: Catalogue, wanted: str) -> list[ModelConfig]:
    """Return the models whose id contains a text, in whatever case.

    Raises:
        NotFound: there is none.
    """
    from devflow_cli.matching import no_match

    found = [one for one in catalogue.models if wanted.lower() in one.id]
    if found:
        return found
    raise no_match(
        "model's id contains",
        wanted,
        (one.id for one in catalogue.models),
        "`devflow models list` shows all, `devflow models refresh` fetches the newest.",
    )


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
    """Show one model: prices, window, capabilities, measurements, and public scores."""
    from devflow_gateway import wiring

    settings = run.settings()
    live = wiring.open_catalogue(settings)
    found = live.current.find(model)
    row = _model_row(found, load_measurements(settings))
    scores = _score_rows(found, live)
    if run.as_json:
        run.emit({**row, **ages_as_json(live), "scores": scores})
        return
    for name, value in {**row, "capabilities": _format_capabilities(row)}.items():
        run.say(f"{name.replace('_', ' '):28} {'unknown' if value is None else value}")
    for score in scores:
        run.say(f"{'score':28} {score['text']}")
    if not scores:
        run.say(f"{'score':28} none is known; its ability is guessed")
    say_ages(run, live)


@command(models)
async def refresh(run: Run) -> None:
    """Fetch the provider's list and show what changed: prices, new models, removed models."""
    from devflow_gateway import wiring

    settings = run.settings()
    with run.progress.status("Fetching the list of models …"):
        live, found = await wiring.refresh_catalogue(settings)
    now = live.current
    changes = [dataclasses.asdict(one) for one in found]
    if run.as_json:
        totals = {"models": len(now), "version": now.version}
        run.emit({**totals, **ages_as_json(live), "changes": changes})
        return
    run.say(f"{len(now)} models, {len(changes)} changes.")
    run.say(f"Scores of models: {describe_ages(live)[1]}.")
    for one in changes:
        run.say(
            f"  {one['model']}: {one['kind'].replace('_', ' ')} {one['before']} → {one['after']}"
        )


def _score_rows(model: ModelConfig, live: LiveCatalogue) -> list[dict[str, Any]]:
    """Return the public scores that choices use for a model, the most telling first."""
    from devflow_routing.evidence.description import describe_reading
    from devflow_routing.evidence.readings import find_readings, group_models

    evidence = live.evidence.current
    models, places = group_models(live.current.models)
    ids = [one.id for one in live.current.models]
    if model.id not in ids:
        return []
    return [
        {
            "benchmark": evidence.benchmarks[one.score.benchmark].name,
            "value": one.score.value,
            "publisher": evidence.benchmarks[one.score.benchmark].publisher,
            "date": None if one.score.date is None else str(one.score.date),
            "setting": one.score.effort,
            "measured_as": one.score.model,
            "text": describe_reading(one, evidence),
        }
        for one in find_readings(models, evidence)[places[ids.index(model.id)]]
    ]


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
