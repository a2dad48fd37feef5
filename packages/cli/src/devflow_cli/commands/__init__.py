"""One module per command; importing this package registers them all."""

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
    whatif,
)

__all__ = [
    "ask",
    "budget",
    "claude",
    "demo",
    "doctor",
    "explain",
    "handoff",
    "keys",
    "ledger",
    "models",
    "report",
    "sandbox",
    "serve",
    "sessions",
    "whatif",
]
