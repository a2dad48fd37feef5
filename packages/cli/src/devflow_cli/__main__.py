"""`python -m devflow_cli` is the `devflow` command."""

from devflow_cli.main import run

run()
