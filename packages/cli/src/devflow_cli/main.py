"""Registers every command of `devflow` and runs the requested one."""

from __future__ import annotations

import sys

from devflow_cli.app import app

# importing a command registers it
from devflow_cli.commands import (
    ask,
    budget,
    claude,
    costs,
    demo,
    doctor,
    explain,
    handoff,
    init,
    integrate,
    keys,
    ledger,
    models,
    report,
    routing,
    sandbox,
    serve,
    sessions,
    top,
    trust,
    whatif,
)
from devflow_cli.run import report_fault, run_guarded

_COMMANDS = (
    ask, budget, claude, costs, demo, doctor, explain, handoff, init, integrate, keys, ledger,
    models, report, routing, sandbox, serve, sessions, top, trust, whatif,
)  # fmt: skip


def run() -> None:
    """Run the `devflow` command and end the process with its exit status."""
    # the text of an exception may hold a secret, which has to be masked
    sys.excepthook = report_fault
    sys.exit(run_guarded(lambda: app(standalone_mode=True)))
