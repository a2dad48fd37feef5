"""Re-exports the selection of models of `devflow_routing.model_selector`."""

from devflow_routing.model_selector import Exclusions, ModelSelector, Selection

__all__ = ["Exclusions", "ModelSelector", "Selection"]
