"""The cost optimizer is provider-neutral: `devflow_routing.cost_optimizer`."""

from devflow_routing.cost_optimizer import CostOptimizer

__all__ = ["CostOptimizer"]
