"""Ridge regression, its honest predictions, and the model that is packed from it."""

from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from devflow_core.request import ChatRequest
from devflow_routing.classifier.features import BUCKETS
from devflow_routing.classifier.linear_model import LinearModel
from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.training.ridge import RidgeRegression, TextVectorizer, extract_all_features
from numpy.typing import NDArray

TEXTS = [f"{first} {second} {number}" for number, (first, second) in enumerate(
    (a, b) for a in ("prove", "write", "fix") for b in ("poem", "code", "lemma", "test")
)]  # fmt: skip
Matrix = NDArray[np.float64]
FEATURES = extract_all_features(TEXTS)
VECTORIZER = TextVectorizer.fit(FEATURES)
VECTORS = VECTORIZER.transform(FEATURES)
KERNEL = VECTORS @ VECTORS.T
TARGETS = np.array([[float("prove" in text), len(text) / 20] for text in TEXTS], dtype=np.float32)


def fitted_without(index: int) -> Matrix:
    """Predictions of a text by a fit that has really not seen it."""
    others = [one for one in range(len(TEXTS)) if one != index]
    # the mean is of all texts, as in the closed form
    centred = TARGETS - TARGETS.mean(axis=0)
    inner: Matrix = (KERNEL[np.ix_(others, others)] + 2.0 * np.eye(len(others))).astype(np.float64)
    weights: Matrix = np.linalg.inv(inner).astype(np.float64) @ centred[others]
    return KERNEL[index, others] @ weights + TARGETS.mean(axis=0)


def test_leaving_one_out_is_exact() -> None:
    predictions = RidgeRegression(KERNEL, TARGETS, 2.0).leave_one_out()
    for index in range(len(TEXTS)):
        assert predictions[index] == pytest.approx(fitted_without(index), abs=1e-4)


def test_a_packed_model_comes_back_as_it_was(tmp_path: Path) -> None:
    shipped = LinearModel.load_shipped()
    shipped.save(tmp_path / "one.npz")
    shipped.save(tmp_path / "two.npz")
    one = (tmp_path / "one.npz").read_bytes()
    assert one == (tmp_path / "two.npz").read_bytes()
    assert len(one) < 1_000_000
    packed = files("devflow_routing").joinpath("data/classifier.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as saved, np.load(BytesIO(packed)) as loaded:
        assert set(saved.files) == set(loaded.files)
    assert shipped.weights.shape == (BUCKETS, len(shipped.names))
    found = TaskClassifier(shipped).classify(ChatRequest.from_text("Prove the theorem"))
    assert found.type == "math"
