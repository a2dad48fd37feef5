"""The command: subjects on standard input, notes on standard output."""

from __future__ import annotations

import asyncio
import sys

from devflow_core.errors import DevFlowError
from devflow_core.settings import Settings
from devflow_gateway import open_gateway

from release_notes.notes import write_notes


async def _write(subjects: list[str]) -> None:
    async with open_gateway(Settings.load()) as gateway:
        notes = await write_notes(gateway, subjects)
    print(notes.text)
    print(f"{notes.model}, {notes.cost_usd} USD", file=sys.stderr)


def run() -> None:
    """Read subjects, write notes; a failure is one line and exit status 1."""
    subjects = [line.strip() for line in sys.stdin if line.strip()]
    if not subjects:
        sys.exit("release-notes: there are no commit subjects on standard input.")
    try:
        asyncio.run(_write(subjects))
    except DevFlowError as error:
        sys.exit(f"release-notes: {error}")
