"""`devflow routing`: learns from recorded answers, judges what was learned, and undoes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_entry
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_routing.learned import LearnedTable
    from devflow_routing.training.evaluate import Judgement
    from devflow_routing.training.examples import Example

_LEDGER = "ledger"
routing = typer.Typer(help="Learn the choice of a model from your answers.", no_args_is_help=True)
app.add_typer(routing, name="routing")


@command(routing)
def train(
    run: Run,
    source: Annotated[
        str, typer.Option("--from", help="A file of JSON lines, or 'ledger': your rated answers.")
    ] = _LEDGER,
) -> None:
    """Learn a table from recorded answers; `auto` uses it from now on.

    A line of the file has `prompt`, `model`, `score` (0 to 1), and if known `cost_usd` and
    `domain`. A running gateway takes the new table within 15 seconds.
    """
    from datetime import UTC, datetime

    from devflow_routing import LearnedFolder
    from devflow_routing.training.train import train as learn

    settings = run.settings()
    examples = _name_models(run, settings, _read_source(settings, source), keeps_unlisted=False)
    with run.progress.status(f"Learning from {len(examples)} examples …"):
        table = learn(
            examples,
            source=_LEDGER if source == _LEDGER else Path(source).name,
            learned_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
    kept = LearnedFolder(settings.data_dir).save(table)
    if run.as_json:
        run.emit({"number": kept.number, **_table_as_json(table)})
        return
    run.say(f"Table {kept.number} ({table.version}) is in use.")
    _print_table(run, table)


@command(routing, has_table=True)
def evaluate(
    run: Run,
    file: Annotated[Path, typer.Argument(help="Recorded answers, as for `train`.")],
    folds: Annotated[
        int,
        typer.Option(
            min=0, max=20, help="Learn anew without each of so many parts, and judge on that part."
        ),
    ] = 0,
) -> None:
    """Show what `auto` would have scored and cost on recorded answers, without any call.

    It is judged with the table in use; on the answers that this one was learned from it looks
    better than it is, so there give `--folds 5`.
    """
    from devflow_routing.training.examples import read_examples

    settings = run.settings()
    examples = _name_models(run, settings, read_examples(file), keeps_unlisted=True)
    with run.progress.status(f"Judging {len(examples)} prompts …"):
        shown = _evaluate(settings, examples, folds)
    if run.as_json:
        run.emit(shown)
    else:
        _print_evaluation(run, shown)


@command(routing, has_table=True)
def show(run: Run) -> None:
    """Show the learned table in use, and the ones that `undo` would go back to."""
    from devflow_routing import LearnedFolder

    from devflow_cli.views.tables import print_table

    folder = LearnedFolder(run.settings().data_dir)
    kept = [{"number": one.number, "version": one.version} for one in folder.list()]
    table = folder.load()
    if run.as_json:
        run.emit({"in_use": _table_as_json(table) if table else None, "kept": kept})
        return
    if table is None:
        run.say("Nothing was learned: `auto` goes by public evidence. `devflow routing train`.")
        return
    run.say(f"Table {kept[0]['number']} ({table.version}) is in use.")
    _print_table(run, table)
    if len(kept) > 1:
        run.say("\nBefore it:")
        print_table(run, {"number": ">Table", "version": "Version"}, kept[1:])


@command(routing)
def undo(run: Run) -> None:
    """Delete the learned table in use; the one before it, or none, is in use from now on."""
    from devflow_routing import LearnedFolder

    gone, former = LearnedFolder(run.settings().data_dir).undo()
    if run.as_json:
        run.emit({"undone": gone.version, "in_use": former.version if former else None})
    elif former is None:
        run.say(f"Table {gone.number} ({gone.version}) is gone: `auto` goes by public evidence.")
    else:
        run.say(
            f"Table {gone.number} ({gone.version}) is gone; table {former.number}"
            f" ({former.version}) is in use."
        )


@command(routing)
def rate(
    run: Run,
    entry: Annotated[
        str, typer.Argument(help="The id of a ledger entry.", autocompletion=complete_entry)
    ],
    score: Annotated[float, typer.Argument(min=0, max=1, help="From 0 (bad) to 1 (good).")],
) -> None:
    """Rate an answer of the ledger, for `train` to learn from."""
    from devflow_routing import Ratings

    from devflow_cli.lookup import find_entry

    settings = run.settings()
    found = find_entry(settings, entry)
    Ratings(settings.data_dir).add(entry, score)
    if run.as_json:
        run.emit({"entry": entry, "model": found.model, "score": score})
    else:
        run.say(f"{found.model} gets {score:g} for {entry}.")


def _read_source(settings: Settings, source: str) -> list[Example]:
    """Return the examples of a file, or those of the ledger."""
    from devflow_routing.training.examples import read_examples

    if source != _LEDGER:
        return read_examples(Path(source))
    from datetime import timedelta

    from devflow_gateway import wiring
    from devflow_routing import Ratings
    from devflow_routing.training.from_ledger import read_labels
    from devflow_store.measured import read_measured

    from devflow_cli.lookup import require_ledger

    require_ledger(settings)
    entries = read_measured(wiring.make_store(settings), settings, timedelta(days=365))
    labels = read_labels(entries, Ratings(settings.data_dir).read())
    labels.require_enough()
    return list(labels.examples)


def _name_models(
    run: Run, settings: Settings, examples: list[Example], *, keeps_unlisted: bool
) -> list[Example]:
    """Return the examples with models named as in the catalogue; say which ones it lacks."""
    from devflow_gateway import wiring
    from devflow_routing.training.examples import name_as_listed

    catalogue = wiring.open_catalogue(settings).current
    named, unlisted = name_as_listed(examples, catalogue, keeps_unlisted=keeps_unlisted)
    if unlisted:
        what = "priced by what they did cost" if keeps_unlisted else "left out"
        run.remark(f"Not in the list of models, and {what}: {', '.join(unlisted)}.")
    return named


def _evaluate(settings: Settings, examples: list[Example], folds: int) -> dict[str, Any]:
    from devflow_gateway import wiring
    from devflow_routing import LearnedFolder
    from devflow_routing.training.cross_validation import evaluate_examples

    table = None if folds else LearnedFolder(settings.data_dir).load()
    catalogue = wiring.open_catalogue(settings).current
    found = evaluate_examples(examples, table, catalogue=catalogue, folds=folds)
    return {
        "prompts": found.prompts,
        "models": list(found.models),
        "best": found.best,
        "learned": f"{folds} folds" if folds else table and table.version,
        "rows": [
            _judgement_as_json("the best single model", found.single),
            _judgement_as_json("auto without a learned table", found.general),
            *([_judgement_as_json("auto with it", found.learned)] if found.learned else []),
        ],
    }


def _judgement_as_json(name: str, one: Judgement) -> dict[str, Any]:
    return {
        "choice": name,
        "score": round(float(one.scores.mean()), 4),
        "cost_usd": f"{float(one.costs_usd.sum()):.6f}",
        "quality_kept": round(one.quality_kept, 4),
        "saved": round(one.saved, 4),
    }


def _print_evaluation(run: Run, shown: dict[str, Any]) -> None:
    from devflow_cli.views.tables import print_table

    run.say(
        f"{shown['prompts']} prompts, {len(shown['models'])} models; the best single model is"
        f" {shown['best']}.\n"
    )
    rows = [
        {**row, "quality_kept": f"{row['quality_kept']:.1%}", "saved": f"{row['saved']:.1%}"}
        for row in shown["rows"]
    ]
    columns = {
        "choice": "Choice",
        "score": ">Score",
        "quality_kept": ">Quality kept",
        "cost_usd": "$Cost",
        "saved": ">Saved",
    }
    print_table(run, columns, rows, drop=("score", "cost_usd"))
    if shown["learned"] is None:
        run.say("\nNo table is in use; `devflow routing train` makes one, --folds 5 tries one.")


def _table_as_json(table: LearnedTable) -> dict[str, Any]:
    facts = table.facts
    return {
        "version": table.version,
        "source": facts.source,
        "learned_at": facts.learned_at or None,
        "prompts": facts.prompts,
        "answers": facts.answers,
        "models": list(table.models),
        "best": table.models[table.best],
        "reads_words": table.heads is not None,
        "domains": list(table.domains),
        "kinds": list(table.kinds),
        "quality_kept": facts.quality_kept,
        "saved": facts.saved,
    }


def _print_table(run: Run, table: LearnedTable) -> None:
    from devflow_cli.views.tables import say_sentence

    facts = table.facts
    when = f", {facts.learned_at}" if facts.learned_at else ""
    say_sentence(
        run,
        f"Learned from {facts.source}{when}: {facts.answers} answers to {facts.prompts} prompts.",
    )
    say_sentence(run, f"Knows {len(table.models)} models; the best is {table.models[table.best]}.")
    if table.heads is not None:
        say_sentence(run, f"Reads the words of prompts, in {len(table.domains)} domains.")
    else:
        say_sentence(
            run,
            "Goes by the kind and the complexity of a task alone: too few prompts have a text and"
            " several answers, or choices by their words save nothing.",
        )
    if facts.saved > 0:
        say_sentence(
            run,
            f"On prompts left out of learning it keeps {facts.quality_kept:.1%} of the best model's"
            f" quality and saves {facts.saved:.1%} of its cost.",
        )
    else:
        say_sentence(run, "Nothing cheaper keeps the best model's quality, so it takes that one.")
