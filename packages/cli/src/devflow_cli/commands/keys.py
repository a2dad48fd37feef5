"""`devflow keys`: the OpenRouter keys in use, and the client keys of the HTTP gateway."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from devflow_cli.main import app
from devflow_cli.run import FAILED, Run, command

keys = typer.Typer(help="OpenRouter keys in use; client keys of the gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@command(keys)
async def status(run: Run) -> None:
    """Show which key would be used, where it is from, and what is left on it; never the key."""
    from devflow_server import wiring

    from devflow_cli.render import table

    settings = run.settings()
    settings.require_keys()
    async with wiring.open_gateway(settings) as gateway:
        with run.progress.status("Asking OpenRouter …"):
            rows = await wiring.key_status(gateway)
    if run.as_json:
        run.emit({"keys": rows})
        return
    columns = {
        "id": "Key",
        "source": "From",
        "next": "Next",
        "resting": "Resting",
        "usage_usd": ">Used USD",
        "limit_usd": ">Limit",
        "left_usd": ">Left",
        "note": "Note",
    }
    table(run, columns, rows)


@command(keys)
async def create(
    run: Run,
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Only these models (patterns); may be repeated.")
    ] = None,
    route: Annotated[
        list[str] | None, typer.Option(help="Only these routes; may be repeated.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
) -> None:
    """Create a client key of the HTTP gateway; it is shown once."""
    from datetime import UTC, datetime, timedelta

    from devflow_server import wiring

    scopes: dict[str, Any] = {}
    if model:
        scopes["models"] = model
    if route:
        scopes["routes"] = route
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    async with wiring.store(run.settings()) as store:
        made, secret = await store.keys.create(name, scopes, expires_at=expires_at)
    if run.as_json:
        run.emit({"id": made.id, "name": made.name, "key": secret})
    else:
        run.say(f"{secret}\n")
        run.remark("Keep it now: only its hash is stored.")


@command(keys, "list")
async def list_keys(run: Run) -> None:
    """List the client keys; their hashes stay where they are."""
    from devflow_server import wiring

    from devflow_cli.render import table

    async with wiring.store(run.settings()) as store:
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
        table(run, {name: name.replace("_", " ") for name in rows[0]} if rows else {}, rows)


@command(keys)
async def revoke(run: Run, key_id: Annotated[str, typer.Argument(help="As listed.")]) -> int | None:
    """Revoke a client key; requests with it are refused within a second."""
    from devflow_server import wiring

    async with wiring.store(run.settings()) as store:
        is_revoked = await store.keys.revoke(key_id)
    run.say("Revoked." if is_revoked else f"There is no key {key_id}.")
    return None if is_revoked else FAILED
