"""The `devflow` command: registers every command and runs the one that was asked for."""

from __future__ import annotations

import sys

from devflow_cli.app import app

# importing a command registers it
from devflow_cli.commands import (
    ask,
    budget,
    claude,
    demo,
    doctor,
    explain,
    handoff,
    keys,
    ledger,
    models,
    report,
    sandbox,
    serve,
    sessions,
    trust,
    whatif,
)
from devflow_cli.run import report_fault, run_guarded

_COMMANDS = (
    ask, budget, claude, demo, doctor, explain, handoff, keys, ledger, models, report, sandbox,
    serve, sessions, trust, whatif,
)  # fmt: skip


def run() -> None:
    """The entry point of the installed command; ends the process with the exit status."""
    sys.excepthook = report_fault
    sys.exit(run_guarded(lambda: app(standalone_mode=True)))
