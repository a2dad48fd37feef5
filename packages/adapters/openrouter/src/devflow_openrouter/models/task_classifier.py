"""Re-exports the classifier of `devflow_routing.classifier.task_classifier`."""

from devflow_routing.classifier.task_classifier import TaskClassifier

__all__ = ["TaskClassifier"]
