"""Checks that a gateway, ours or another, keeps what its clients rely on."""

from devflow_cli.conformance.runner import Finding, run_checks

__all__ = ["Finding", "run_checks"]
