"""Fetches the scores of models that OpenRouter publishes, and reads them again from the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Protocol

from devflow_core.addresses import LOOPBACK_UPSTREAM
from devflow_core.errors import ConfigurationError, KeyRefused, ProtocolError
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_core.settings import Settings
from devflow_core.wire import json_lenient as lenient
from devflow_routing.evidence.scores import Evidence, Score, load_shipped_evidence
from devflow_routing.fetched_file import FetchedFile
from devflow_routing.live_evidence import LiveEvidence

from devflow_openrouter.models.benchmark_rows import BENCHMARKS, read_rows

EVIDENCE_FILE = "evidence.json"
"""The file in the data folder that holds the scores as they were last fetched."""
LOOPBACK_EVIDENCE_FILE = "evidence.loopback.json"
"""The same for an upstream on this machine: invented scores never take the real ones' place."""
_INVENTED_BY = "invented by a stand-in"


class BenchmarksApi(Protocol):
    """The endpoint that scores are fetched from; it needs a key."""

    async def benchmarks(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the scores, as the list `data`.

        Raises:
            DevFlowError: they cannot be fetched.
        """
        ...


def open_evidence(settings: Settings) -> LiveEvidence:
    """Return the scores last fetched into the data folder with the shipped ones; new are saved."""
    is_loopback = settings.upstream == LOOPBACK_UPSTREAM
    path = settings.data_dir / (LOOPBACK_EVIDENCE_FILE if is_loopback else EVIDENCE_FILE)
    return LiveEvidence(decode_evidence, file=FetchedFile(path, content="scores of models"))


def make_evidence() -> LiveEvidence:
    """Return the shipped scores; fetched ones stay in memory."""
    return LiveEvidence(decode_evidence)


async def fetch_evidence(api: BenchmarksApi, keys: Sequence[UpstreamKey]) -> JsonObject:
    """Fetch the scores that OpenRouter publishes; keys are tried in turn until one is not refused.

    Returns:
        A document for `decode_evidence`.

    Raises:
        ConfigurationError: there is no key.
        KeyRefused: OpenRouter takes none of the keys.
        DevFlowError: it does not answer, or sends no scores.
    """
    if not keys:
        raise ConfigurationError(
            "Scores of models are fetched with an OpenRouter key, and none is set: choices rest on"
            " the scores that ship with DevFlow. `devflow init` sets one."
        )
    body = await _ask(api, keys)
    scores = read_rows(body)
    if not scores:
        raise ProtocolError("OpenRouter sent no scores of models; the known ones stay in use.")
    citation = lenient.as_text(lenient.as_object(body.get("meta")).get("citation")) or ""
    rows = [
        [one.model, one.benchmark, one.value, str(one.date or ""), one.effort, one.shown_as]
        for one in scores
    ]
    return {
        "fetched_at": datetime.now(UTC).isoformat(),
        "is_invented": "invented" in citation.lower(),
        "scores": rows,
    }


async def _ask(api: BenchmarksApi, keys: Sequence[UpstreamKey]) -> JsonObject:
    for key in keys[:-1]:
        try:
            return await api.benchmarks(key=key)
        except KeyRefused:
            continue
    return await api.benchmarks(key=keys[-1])


def decode_evidence(document: JsonObject) -> Evidence:
    """Return the shipped scores with those of a document that `fetch_evidence` returned.

    Raises:
        KeyError, TypeError, ValueError: it is not such a document.
    """
    is_invented = bool(document["is_invented"])
    rows: list[list[Any]] = document["scores"]
    benchmarks = [
        replace(one, publisher=_INVENTED_BY) if is_invented else one for one in BENCHMARKS
    ]
    known = {one.key for one in benchmarks}
    scores = [
        Score(
            model=str(model),
            benchmark=benchmark,
            value=float(value),
            date=date.fromisoformat(day) if day else None,
            effort=str(effort),
            shown_as=str(shown_as),
        )
        for model, benchmark, value, day, effort, shown_as in rows
        if benchmark in known
    ]
    return load_shipped_evidence().with_fetched(
        scores,
        benchmarks,
        fetched_at=datetime.fromisoformat(document["fetched_at"]),
        is_invented=is_invented,
    )
