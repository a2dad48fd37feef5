"""Chooses who answers a request, and says why; knows no provider by name."""

from devflow_routing.capabilities import Capability, Needs, needs_of
from devflow_routing.catalogue import Catalogue, Change
from devflow_routing.catalogue_refresh import CatalogueRefresh
from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.decision import as_json, encode
from devflow_routing.model_config import Endpoint, ModelConfig
from devflow_routing.model_selector import Exclusions, ModelSelector, Selection
from devflow_routing.policy import RoutingPolicy
from devflow_routing.router import Router
from devflow_routing.tokens import TextSize, estimate_tokens
from devflow_routing.trackers.performance import Performance, PerformanceTracker
from devflow_routing.trackers.sessions import SessionTracker

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
    "Performance",
    "PerformanceTracker",
    "Router",
    "RoutingPolicy",
    "Selection",
    "SessionTracker",
    "TaskClassifier",
    "TextSize",
    "as_json",
    "encode",
    "estimate_tokens",
    "needs_of",
]
