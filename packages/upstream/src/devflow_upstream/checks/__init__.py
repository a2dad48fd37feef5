"""Judges answers: each module is one way, behind the port `devflow_core.ports.Check`."""
