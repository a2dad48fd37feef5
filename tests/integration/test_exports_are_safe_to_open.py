"""Whatever stood in a request, an export stays in its cells and steers no terminal."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from devflow_core.attribution import Attribution
from devflow_core.ledger import AttemptStart
from devflow_core.testing import an_attempt, an_entry
from devflow_store import Store

HOSTILE = (
    "\r=1+1",
    "=cmd|' /C calc'!A0",
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m",
    "a\nb",
    "\u202eevil\u2066",
    "  @SUM(A1)",
    '","=1+1',
    "\u2028=1",
    "\uff1d1+1",
    "\ufeff-1",
)
STEERING = set("\x1b\x07\x9b\r\u202e\u2066\u2028\ufeff")
"""What no output of ours may hold."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose ledger holds a call for each hostile text, as every label that it may be."""

    async def main() -> None:
        data_dir = tmp_path / ".local" / "share" / "devflow"
        async with Store(data_dir / "ledger.db") as store:
            for number, text in enumerate(HOSTILE):
                labels = Attribution(session_id=text, project=text, branch=text, agent=text)
                attempt = an_attempt(attempt_id=f"att_{number}", model=text, provider=text)
                entry = an_entry(
                    entry_id=f"req_{number}",
                    requested_model=text,
                    attempts=(attempt,),
                    attribution=labels,
                )
                start = AttemptStart(
                    attempt_id=attempt.attempt_id,
                    entry_id=entry.entry_id,
                    number=1,
                    model=text,
                    started_at=entry.started_at,
                    reserved_usd=None,
                    task_type="coding",
                    attribution=labels,
                )
                await store.begin(start)
                await store.close(entry)

    asyncio.run(main())
    return tmp_path


def devflow(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "devflow_cli", *arguments],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout.decode()


@pytest.mark.parametrize("command", [("ledger", "export", "--csv"), ("report", "--format", "csv")])
def test_a_spreadsheet_runs_nothing_and_keeps_every_row(
    home: Path, command: tuple[str, ...]
) -> None:
    text = devflow(home, *command)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == len(HOSTILE) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    for row in rows[1:]:
        for cell in row:
            assert not cell.lstrip().startswith(("=", "+", "@", "\uff1d")), cell
            assert not cell.lstrip("\ufffd ").startswith(("=", "@")) or cell.startswith("'"), cell


@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "export", "--csv"),
        ("ledger", "export"),
        ("ledger", "export", "--json"),
        ("report", "--by", "project"),
        ("report", "--by", "model", "--format", "csv"),
        ("report", "--by", "branch", "--format", "md"),
        ("report", "--by", "session", "--json"),
        ("report", "--by", "agent", "--format", "html"),
        ("budget", "list", "--json"),
    ],
    ids=" ".join,
)
def test_nothing_steers_a_terminal(home: Path, command: tuple[str, ...]) -> None:
    assert STEERING.isdisjoint(devflow(home, *command).replace("\r\n", "\n"))


def test_json_says_what_was_there(home: Path) -> None:
    lines = devflow(home, "ledger", "export").splitlines()
    projects = [json.loads(line)["attribution"]["project"] for line in lines]
    assert projects == list(HOSTILE)
