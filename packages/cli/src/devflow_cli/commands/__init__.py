"""Holds one module per command; each registers itself with `devflow_cli.app`."""
