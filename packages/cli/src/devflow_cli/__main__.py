"""Runs the `devflow` command for `python -m devflow_cli`."""

from devflow_cli.main import run

run()
