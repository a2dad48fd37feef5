"""Ridge regression, its honest predictions, and the model that is packed from it."""

from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from devflow_routing.classifier.features import BUCKETS, extract_features
from devflow_routing.classifier.linear_model import LinearModel
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


def fitted_without(members: list[int]) -> tuple[Matrix, Matrix]:
    """Predictions of some texts by a fit that has really not seen them."""
    others = [index for index in range(len(TEXTS)) if index not in members]
    # the mean is of all texts, as in the closed form
    centred = TARGETS - TARGETS.mean(axis=0)
    inner: Matrix = (KERNEL[np.ix_(others, others)] + 2.0 * np.eye(len(others))).astype(np.float64)
    cross = KERNEL[np.ix_(members, others)]
    inverse: Matrix = np.linalg.inv(inner).astype(np.float64)
    weights: Matrix = inverse @ centred[others]
    spread: Matrix = np.diag(KERNEL)[members] - np.einsum("ij,ij->i", cross @ inverse, cross)
    return cross @ weights + TARGETS.mean(axis=0), spread


def test_leaving_one_out_is_exact() -> None:
    predictions, variance = RidgeRegression(KERNEL, TARGETS, 2.0).leave_one_out()
    for index in range(len(TEXTS)):
        expected, spread = fitted_without([index])
        assert predictions[index] == pytest.approx(expected[0], abs=1e-4)
        assert variance[index] == pytest.approx(spread[0], abs=1e-4)


def test_leaving_a_group_out_is_exact() -> None:
    members = [0, 3, 7]
    predictions, variance = RidgeRegression(KERNEL, TARGETS, 2.0).leave_group_out(np.array(members))
    expected, spread = fitted_without(members)
    assert predictions == pytest.approx(expected, abs=1e-4)
    assert variance == pytest.approx(spread, abs=1e-4)


def test_a_fit_predicts_what_it_has_learned() -> None:
    ridge = RidgeRegression(KERNEL, TARGETS, 0.01)
    assert ridge.predict(KERNEL) == pytest.approx(TARGETS, abs=0.1)
    norms = (VECTORS * VECTORS).sum(axis=1)
    far = VECTORIZER.transform(extract_all_features(["nothing like it at all"]))
    far_norms = (far * far).sum(axis=1)
    known = ridge.variance(KERNEL, norms)
    assert ridge.variance(far @ VECTORS.T, far_norms)[0] > known.max()


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
    features = extract_features("Prove the theorem")
    sums = shipped.weights[features.words].sum(axis=0).astype(np.float32)
    scores = dict(zip(shipped.names, shipped.score(features, sums).tolist(), strict=True))
    assert max(scores, key=lambda name: scores[name] if name != "small_model" else -1) == "math"
