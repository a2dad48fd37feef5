"""What is known of models, and what a request is about."""

from devflow_openrouter.models.capabilities import Capability, Needs, needs_of
from devflow_openrouter.models.catalogue import Catalogue, Change
from devflow_openrouter.models.model_config import Endpoint, ModelConfig
from devflow_openrouter.models.model_selector import Exclusions, ModelSelector, Selection
from devflow_openrouter.models.refresh import CatalogueRefresh
from devflow_openrouter.models.task_classifier import TaskClassifier
from devflow_openrouter.models.tokens import TextSize, estimate_tokens

__all__ = [
    "Capability",
    "Catalogue",
    "CatalogueRefresh",
    "Change",
    "Endpoint",
    "Exclusions",
    "ModelConfig",
    "ModelSelector",
    "Needs",
    "Selection",
    "TaskClassifier",
    "TextSize",
    "estimate_tokens",
    "needs_of",
]
