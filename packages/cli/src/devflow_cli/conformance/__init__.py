"""Whether a gateway, ours or another, keeps what its clients rely on."""

from devflow_cli.conformance.runner import Finding, check

__all__ = ["Finding", "check"]
