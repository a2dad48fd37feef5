"""The walks of docs/architecture.md that are held to a length: traced, not read."""

import asyncio
import sys
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_cli import main
from devflow_core.attribution import Attribution
from devflow_core.ids import new_id
from devflow_core.ledger import AttemptStart
from devflow_sandbox import Sandbox
from devflow_store import Budget, Store
from integration.walks import Step, Walk, watch

ROOT = Path(__file__).parents[2]
MAX_ROOMS_OF_A_RESERVATION = 3
PORTS = {
    "devflow_core.pipeline",
    "devflow_core.wrapping",
    "devflow_core.metered",
    "devflow_core.journal",
    "devflow_core.ledger",
    "devflow_routing.live_catalogue",
}
"""Who calls what it was given by those above it: a port, or a catalogue's source."""


def test_a_reservation_comes_through_three_rooms_of_the_store(tmp_path: Path) -> None:
    budgets = [
        Budget(scope="global", window="month", limit_usd=Decimal(1)),
        Budget(scope="session", value="*", window="lifetime", limit_usd=Decimal(1)),
        Budget(scope="model", value="*", window="lifetime", limit_usd=Decimal(1)),
    ]

    async def reserve_twice(walk: Walk) -> list[Step]:
        async with Store(tmp_path / "ledger.db") as store:
            for budget in budgets:
                await store.budgets.set(budget)
            await store.begin(_attempt())  # reads the budgets and accounts, and opens their windows
            walk.steps.clear()
            await store.begin(_attempt())
            return list(walk.steps)

    with watch() as walk:
        steps = asyncio.run(reserve_twice(walk))
    first = next(at for at, one in enumerate(steps) if one.function.endswith(".begin.<locals>.run"))
    last = next(at for at, one in enumerate(steps) if one.function == "Transaction.append")
    rooms = {one.callee for one in steps[first:last] if one.callee.startswith("devflow_store")}
    assert "devflow_store.budgets.reservations" in rooms
    assert len(rooms) <= MAX_ROOMS_OF_A_RESERVATION, rooms


def test_a_hand_off_calls_downwards_and_up_through_ports_alone(
    openrouter_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    transcript = min((ROOT / "examples" / "sessions").glob("**/*.jsonl"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_sandbox.base_url)
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_sandbox.api_key)
    monkeypatch.setattr(sys, "argv", ["devflow", "handoff", str(transcript), "--json"])
    with watch() as walk, pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 0
    floors = _floors_of_packages()
    climbing = {
        one.caller
        for one in walk.steps
        if floors.get(one.package_of_caller, -1) > floors.get(one.package_of_callee, 99)
    }
    assert "devflow_core.pipeline" in climbing  # it asked somebody, so the whole way was walked
    assert climbing - PORTS == set()


def _attempt() -> AttemptStart:
    return AttemptStart(
        attempt_id=new_id("attempt"),
        entry_id=new_id("entry"),
        number=1,
        model="test/model",
        started_at=datetime.now(UTC),
        attribution=Attribution(session_id="a session"),
        reserved_usd=Decimal("0.01"),
        task_type="coding",
        key_id="key",
    )


def _floors_of_packages() -> dict[str, int]:
    """The floor of each package, 0 for the uppermost, as the import linter holds them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(
        one["layers"] for one in contracts if one["type"] == "layers" and "containers" not in one
    )
    return {
        name: floor for floor, layer in enumerate(layers) for name in layer.split() if name != "|"
    }
