"""`devflow keys`: the provider keys in use, and the client keys of the HTTP gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from devflow_cli.app import app
from devflow_cli.options import UnlistedModels
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.ports import UpstreamKey
    from devflow_core.settings import Settings
    from devflow_gateway.wiring import AsyncGateway
    from devflow_store.client_keys import ClientKey
    from devflow_upstream.keys import KeyState

# the store's `ROUTE_GROUPS`, which would be slow to import for a help page
_ROUTES = "chat, embeddings, read, operate"
keys = typer.Typer(help="Provider keys in use; client keys of the gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@command(keys, has_table=True)
async def status(run: Run) -> None:
    """Show each provider key's source, cool-down and remaining credit; never the key itself."""
    from devflow_gateway import wiring

    from devflow_cli.views.tables import print_table

    settings = run.settings()
    # before the ledger is opened, and perhaps created, for nothing
    settings.require_keys()
    async with wiring.open_gateway(settings) as gateway:
        with run.progress.status("Asking the provider …"):
            both = zip(gateway.keys.keys, gateway.keys.status(), strict=True)
            rows = [await _fetch_status(gateway, key, state) for key, state in both]
    if run.as_json:
        run.emit({"keys": rows})
        return
    columns = {
        "id": "Key",
        "source": "From",
        "rests_s": ">Rests s",
        "usage_usd": "$Used",
        "limit_usd": "$Limit",
        "left_usd": "$Left",
        "note": "Note",
    }
    drop = ("limit_usd", "usage_usd", "rests_s", "source")
    print_table(run, columns, rows, drop=drop, text=("note",))


@command(keys)
async def create(
    run: Run,
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Only these models (patterns); may be repeated.")
    ] = None,
    route: Annotated[
        list[str] | None, typer.Option(help=f"Only these routes, of {_ROUTES}; may be repeated.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    unlisted: UnlistedModels = False,
) -> None:
    """Create a client key of the HTTP gateway; it is shown once."""
    from datetime import UTC, datetime, timedelta

    from devflow_gateway import wiring

    settings = run.settings()
    scopes: dict[str, Any] = {}
    if model:
        if not unlisted:
            _check_patterns(settings, model)
        scopes["models"] = model
    if route:
        scopes["routes"] = route
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    async with wiring.make_store(settings) as store:
        made, secret = await store.keys.create(name, scopes, expires_at=expires_at)
    if run.as_json:
        run.emit({"id": made.id, "name": made.name, "key": secret})
    else:
        run.say(f"{secret}\n")
        # on stderr, so that stdout holds the key alone
        run.remark("Keep it now: only its hash is stored.")


def _check_patterns(settings: Settings, patterns: list[str]) -> None:
    """Refuse a key for models that are not there: it would look narrow and open nothing."""
    from devflow_gateway import wiring

    from devflow_cli.matching import check_model_pattern

    catalogue = wiring.open_catalogue(settings).current
    for pattern in patterns:
        check_model_pattern(catalogue, pattern)


@command(keys, "list", has_table=True)
async def list_keys(run: Run) -> None:
    """List the client keys; neither keys nor hashes are shown."""
    from devflow_gateway import wiring

    from devflow_cli.lookup import has_ledger
    from devflow_cli.views.tables import print_table

    settings = run.settings()
    found: list[ClientKey] = []
    if has_ledger(run, settings):
        async with wiring.make_store(settings) as store:
            found = await store.keys.list()
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "created_at": one.created_at.isoformat(),
            "expires_at": one.expires_at.isoformat() if one.expires_at else None,
            "revoked": one.revoked_at is not None,
            "scopes": dict(one.scopes),
        }
        for one in found
    ]
    if run.as_json:
        run.emit({"keys": rows})
    else:
        columns = {
            "id": "Key",
            "name": "Name",
            "revoked": "Revoked",
            "expires_at": "Expires",
            "scopes": "May use",
        }
        print_table(
            run,
            columns,
            [{**row, "scopes": _format_scopes(one)} for row, one in zip(rows, found, strict=True)],
            drop=("expires_at", "scopes", "id", "revoked"),
        )


def _format_scopes(key: ClientKey) -> str:
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in key.scopes.items())


@command(keys)
async def revoke(
    run: Run, key: Annotated[str, typer.Argument(help="Its name or its id, as listed.")]
) -> None:
    """Revoke a client key; requests with it are refused within a second."""
    from devflow_gateway import wiring

    from devflow_cli.lookup import require_ledger

    settings = run.settings()
    require_ledger(settings)
    async with wiring.make_store(settings) as store:
        revoked = await store.keys.revoke(key)
    if run.as_json:
        run.emit({"revoked": revoked.id})
    else:
        run.say(f"Revoked {revoked.name} ({revoked.id}).")


async def _fetch_status(gateway: AsyncGateway, key: UpstreamKey, state: KeyState) -> dict[str, Any]:
    """Return what the provider reports about one key, or a note why it reports nothing."""
    from devflow_core.errors import DevFlowError

    reported: Mapping[str, Any] = {}
    note = ""
    try:
        data = (await gateway.api.key_status(key)).get("data")
    # a key that the provider refuses must not hide the others
    except DevFlowError as error:
        note = str(error)
    else:
        reported = cast("Mapping[str, Any]", data) if isinstance(data, Mapping) else {}
        note = "" if reported else "The provider's answer holds no key status."
    return {
        "id": key.id,
        "source": state.source,
        "rests_s": state.cool_down_s,
        "usage_usd": _format_money(reported.get("usage")),
        "limit_usd": _format_money(reported.get("limit")),
        "left_usd": _format_money(reported.get("limit_remaining")),
        "note": note or ("free tier" if reported.get("is_free_tier") else ""),
    }


def _format_money(value: object) -> str | None:
    return None if value is None else str(value)
