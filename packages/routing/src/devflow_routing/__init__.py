"""Chooses the models that answer a request, with reasons; it depends on no single provider."""

from devflow_routing.capabilities import Capability, Needs, needs_of
from devflow_routing.catalogue import Catalogue
from devflow_routing.catalogue_changes import CatalogueChange
from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.decision import encode_route, route_as_json
from devflow_routing.fetched_file import FetchedFile
from devflow_routing.learned import LearnedFolder, LearnedTable, Ratings
from devflow_routing.live_catalogue import LiveCatalogue
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import Exclusions, ModelSelector, Selection
from devflow_routing.policy import RoutingPolicy, Weights
from devflow_routing.router import Router
from devflow_routing.trackers.performance import Performance, PerformanceTracker
from devflow_routing.trackers.sessions import SessionTracker

__all__ = [
    "Capability",
    "Catalogue",
    "CatalogueChange",
    "Exclusions",
    "FetchedFile",
    "LearnedFolder",
    "LearnedTable",
    "LiveCatalogue",
    "ModelConfig",
    "ModelSelector",
    "Needs",
    "Performance",
    "PerformanceTracker",
    "Ratings",
    "Router",
    "RoutingPolicy",
    "Selection",
    "SessionTracker",
    "TaskClassifier",
    "Weights",
    "encode_route",
    "needs_of",
    "route_as_json",
]
