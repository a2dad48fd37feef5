"""The classifier is provider-neutral: `devflow_routing.classifier.task_classifier`."""

from devflow_routing.classifier.task_classifier import TaskClassifier

__all__ = ["TaskClassifier"]
