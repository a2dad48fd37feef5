"""The classifier is trained on nothing but what the manifest allows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.training.classifier import (
    LABELLED_SOURCES,
    OUTCOME_BENCHMARKS,
    VERSION,
    WRITTEN,
    read_examples,
)
from devflow_routing.training.written_requests import read_written_requests

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "routing"
ROW = re.compile(r"^\| `([^`|]+)` \| ([^|]+) \| (trained on|measured only) \|$", re.MULTILINE)
OPEN_LICENCES = ("Apache-2.0", "MIT")


def _manifest() -> dict[str, tuple[str, str]]:
    """The licence and the use of each source."""
    text = (DATA / "MANIFEST.md").read_text(encoding="utf-8")
    return {name: (licence, use) for name, licence, use in ROW.findall(text)}


def test_all_that_is_trained_on_is_allowed_by_the_manifest() -> None:
    manifest = _manifest()
    for source in (*LABELLED_SOURCES, *OUTCOME_BENCHMARKS, WRITTEN):
        licence, use = manifest[source]
        assert use == "trained on", source
        assert licence.startswith(OPEN_LICENCES), source


def test_nothing_else_is_trained_on() -> None:
    allowed = {name for name, (_, use) in _manifest().items() if use == "trained on"}
    sources = {one.source for one in read_examples(DATA)}
    assert {one for one in sources if not one.startswith("written/")} <= allowed
    measured = (DATA / "measured_requests.txt").read_text(encoding="utf-8")
    texts = {one.text for one in read_examples(DATA)}
    shown = [line.split("\t")[3:] for line in measured.splitlines() if not line.startswith("# ")]
    assert not texts & {text for pair in shown for text in pair}


@pytest.mark.parametrize("language", ["en", "de", "it", "es", "fr", "pl", "zh"])
def test_written_requests_have_every_kind_in_every_language(language: str) -> None:
    found = [one for one in read_written_requests(DATA / WRITTEN) if one.language == language]
    assert len({one.kind for one in found}) == 8
    assert not [one.text for one in found if re.search(r"\{[a-z]+\}", one.text)]


def test_the_shipped_model_is_of_this_training() -> None:
    assert TaskClassifier().version == VERSION
