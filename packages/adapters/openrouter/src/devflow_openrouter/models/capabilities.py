"""Re-exports the capabilities of `devflow_routing.capabilities`."""

from devflow_routing.capabilities import Capability, Needs, needs_of

__all__ = ["Capability", "Needs", "needs_of"]
