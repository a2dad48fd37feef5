"""Fills a ledger as a busy team does, through the store's own door, and keeps it for later runs.

    with filled_ledger.copy_ledger(1_000_000) as folder: ...     a data folder of one's own

Half of the requests are of the last day, so that a gateway that starts over it knows how 50 models
behave; the others are spread over a year. A ledger is made once and kept in `.bench/ledgers`, under
a name that changes with the code of the store.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import random
import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devflow_core.attribution import Attribution
from devflow_core.ids import new_id
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.settings import Settings
from devflow_core.testing import a_booked_request
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_store import make_store

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".bench" / "ledgers"
ROWS, QUICK_ROWS = 1_000_000, 20_000
MODELS, SESSIONS, PROJECTS, DAYS = 50, 4_000, 7, 365
TASKS = ("coding", "writing", "analysis", "extraction", "translation", "math", "chat")
KINDS_PER_MODEL = 40
_IN_FLIGHT = 512
_CODE = (*ROOT.glob("packages/store/src/**/*.py"), Path(__file__))


def settings_for(folder: Path) -> Settings:
    """Return settings of a gateway over this data folder, whose upstream is on loopback."""
    return Settings.load({}, base_url="http://127.0.0.1:1/api/v1", data_dir=folder)


def list_models() -> list[str]:
    """Return the 50 models that the ledger's requests went to."""
    priced = [one.id for one in load_shipped_catalogue().models if one.price]
    return priced[:: max(1, len(priced) // MODELS)][:MODELS]


def iter_requests(rows: int, now: datetime) -> Iterator[tuple[AttemptStart, LedgerEntry]]:
    """Yield the requests of a year, oldest first: half of them of the last day."""
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    kinds = [_make_kind(chance, model) for model in list_models() for _ in range(KINDS_PER_MODEL)]
    for number in range(rows):
        part = number / rows * 2
        days = (1 - part) * DAYS + 1 if part < 1 else 2 - part
        at = now - timedelta(days=days)
        start, entry = chance.choice(kinds)
        ids = {"attempt_id": new_id("att"), "started_at": at}
        attempt = replace(entry.attempts[0], generation_id=f"gen-1780944465-{number:012x}", **ids)
        labels = {
            "entry_id": new_id("req"),
            "attribution": Attribution(
                session_id=f"session-{number * SESSIONS // rows}",
                project=f"project-{number % PROJECTS}",
                client_key="ci",
            ),
        }
        yield (
            replace(start, **ids, **labels),
            replace(entry, attempts=(attempt,), started_at=at, **labels),
        )


def _make_kind(chance: random.Random, model: str) -> tuple[AttemptStart, LedgerEntry]:
    """Return a request of which others are copies, but for ids, labels and the time."""
    start, entry = a_booked_request(
        cost_usd=f"0.{chance.randrange(1, 99_999):06}", reserved_usd="0.2"
    )
    task, first_s = chance.choice(TASKS), chance.uniform(0.2, 2.0)
    times = {"ttft_s": first_s, "total_s": first_s + chance.uniform(0.5, 20.0)}
    attempt = replace(entry.attempts[0], model=model, **times)
    return (
        replace(start, model=model, task_type=task),
        replace(entry, attempts=(attempt,), task_type=task, **times),
    )


async def fill(folder: Path, rows: int) -> None:
    """Book so many requests in a data folder."""
    requests = iter_requests(rows, datetime.now(UTC))
    async with make_store(settings_for(folder)) as store:

        async def book() -> None:
            for start, entry in requests:
                await store.begin(start)
                await store.close(entry)

        await asyncio.gather(*(book() for _ in range(_IN_FLIGHT)))


def make_ledger(rows: int) -> Path:
    """Return the kept ledger of so many requests, made when it is missing or of other code."""
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_CODE))).hexdigest()[:12]
    today = datetime.now(UTC).date()  # the last day has to be the last day still
    kept = KEPT / f"{rows}-{code}-{today}"
    if kept.is_dir():
        return kept
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in KEPT.iterdir():
        if not old.name.endswith(f"-{code}-{today}"):
            shutil.rmtree(old)
    print(f"Filling a ledger with {rows:,} requests …", flush=True)
    making = KEPT / "making"
    making.mkdir(mode=0o700)
    asyncio.run(fill(making, rows))
    return making.rename(kept)


@contextlib.contextmanager
def copy_ledger(rows: int) -> Generator[Path]:
    """Yield a data folder with a ledger of so many requests; 0 is an empty folder."""
    with tempfile.TemporaryDirectory(dir=ROOT / ".bench") as name:
        folder = Path(name) / "data"
        if rows:
            shutil.copytree(make_ledger(rows), folder)
        else:
            folder.mkdir(mode=0o700)
        yield folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, default=ROWS, nargs="?")
    print(make_ledger(parser.parse_args().rows))
