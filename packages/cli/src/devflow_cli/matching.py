"""Says that a filter matches nothing, and what comes close.

A filter that can match nothing, because its name is unknown or its period lies ahead, is taken for
a mistake: the command ends with status 1, as for every other name that there is not. One that
matches nothing so far, such as `--since today` on a quiet day, is answered: with an empty result, a
remark on standard error, and status 0, so that a script that runs each night does not fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devflow_core.errors import NotFound
    from devflow_core.settings import Settings
    from devflow_routing.catalogue import Catalogue

    from devflow_cli.run import Run

Period = tuple[datetime | None, datetime | None]
"""The start (inclusive) and end (exclusive) of a period in UTC; None leaves a side open."""


def no_match(filtered: str, wanted: str, known: Iterable[str], remedy: str) -> NotFound:
    """Return the error that a filter's name is unknown.

    Args:
        filtered: what was looked for, such as "project has a session".
        wanted: the name as given.
        known: all names that would have matched; the closest are offered.
        remedy: a sentence that says where the names are listed.
    """
    from devflow_core.close_names import offer_close_names
    from devflow_core.errors import NotFound

    return NotFound(f"No {filtered} {wanted!r}.{offer_close_names(wanted, known)} {remedy}")


def find_model_id(catalogue: Catalogue, name: str) -> str:
    """Return the id under which calls to a model are booked.

    Args:
        catalogue: the known models; any name is right if it has none.
        name: an id, or a name that a request may have.

    Raises:
        NotFound: the catalogue has no such model.
    """
    known = catalogue.lookup(name)
    if known is None and len(catalogue):
        raise _no_model("model is called", name, catalogue)
    return known.id if known else name


def check_model_pattern(catalogue: Catalogue, pattern: str) -> None:
    """Check that a pattern of model ids matches one that the catalogue knows.

    Args:
        catalogue: the known models; any pattern is right if it has none.
        pattern: an id, or a pattern as for file names; one of presets, which no list names, is
            right.

    Raises:
        NotFound: it matches none; the id is offered if it is another name of a model.
    """
    from devflow_core.scope import is_in_scope

    ids = [one.id for one in catalogue.models]
    known = catalogue.lookup(pattern)
    if known is not None:
        ids.append(known.id)  # a variant such as `:nitro` is not listed
    marker = catalogue.naming.preset_marker
    if not ids or any(is_in_scope((pattern,), one) for one in ids):
        return
    if not (marker and pattern.startswith(marker)):
        raise _no_model("model's id matches", pattern, catalogue)


def _no_model(filtered: str, wanted: str, catalogue: Catalogue) -> NotFound:
    known = catalogue.lookup(wanted)
    ids = [known.id] if known else [one.id for one in catalogue.models]
    remedy = (
        "`devflow models list` shows all, `devflow models refresh` fetches the newest; --unlisted"
        " accepts a model to come."
    )
    return no_match(filtered, wanted, ids, remedy)


def explain_empty_period(
    run: Run, period: Period, latest_at: Callable[[], datetime | None], *, what: str
) -> None:
    """Remark that a period holds nothing, and when the latest was, if there is any at all.

    Args:
        run: shows the remark.
        period: as asked for; nothing is said of one that is open on both sides.
        latest_at: returns when the latest of all came, in UTC; None if there is none.
        what: of what there is nothing, such as "call was booked".

    Raises:
        NotFound: the period lies in the future.
    """
    from devflow_core.errors import NotFound

    since, until = period
    if since is None and until is None:
        return
    latest = latest_at()
    known = f" The latest is of {_format(latest)}." if latest else ""
    if since is not None and since > datetime.now(UTC):
        raise NotFound(f"--since names {_format(since)}, which is in the future.{known}")
    if latest is None:
        return  # that nothing was ever booked is said elsewhere
    sides = (("from", since), ("before", until))
    bounds = " and ".join(f"{word} {_format(at)}" for word, at in sides if at is not None)
    run.remark(f"No {what} {bounds}.{known}")


def explain_empty_ledger_period(run: Run, settings: Settings, period: Period) -> None:
    """Remark that no call was booked in a period, if anything was ever booked.

    Raises:
        NotFound: the period lies in the future.
        StoreError: the ledger cannot be read.
    """
    from devflow_gateway import wiring

    def find_latest() -> datetime | None:
        has_any = wiring.has_ledger(settings)
        return wiring.make_store(settings).latest_start() if has_any else None

    explain_empty_period(run, period, find_latest, what="call was booked")


def _format(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
