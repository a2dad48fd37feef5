"""Whether a gateway, ours or another, keeps what its clients rely on."""

from devflow_server.doctor.examination import Finding, check

__all__ = ["Finding", "check"]
