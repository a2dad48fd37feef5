"""Re-exports the cost optimizer of `devflow_routing.cost_optimizer`."""

from devflow_routing.cost_optimizer import CostOptimizer

__all__ = ["CostOptimizer"]
