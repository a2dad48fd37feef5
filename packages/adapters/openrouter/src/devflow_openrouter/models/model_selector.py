"""The selection of models is provider-neutral: `devflow_routing.model_selector`."""

from devflow_routing.model_selector import Exclusions, ModelSelector, Selection

__all__ = ["Exclusions", "ModelSelector", "Selection"]
