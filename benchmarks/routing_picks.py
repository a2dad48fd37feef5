"""Shows what each mode picks for sixteen requests, beside what an expert would accept.

    uv run python benchmarks/routing_picks.py [--json FILE]

The requests, and three acceptable models for `auto` with the reason, are in
`benchmarks/data/routing/judged_requests.json`. One person argued them from public evidence with the
first picks in view: a look, not a measurement.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from devflow_core import wire
from devflow_core.request import ChatRequest
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, TaskClassifier
from harness import Report, parse_arguments

REQUESTS = Path(__file__).parent / "data" / "routing" / "judged_requests.json"
MODES = ("auto", "auto:cheap", "auto:fast", "auto:best")


def read_request(body: dict[str, Any]) -> ChatRequest:
    """Return the request of a body, in whatever dialect it is."""
    parsed = wire.parse_body(orjson.dumps(body))
    return wire.guess_dialect(parsed).decode_request(parsed, {})


def main() -> None:
    """Run the benchmark."""
    options = parse_arguments(__doc__)
    router, classifier, report = Router(load_shipped_catalogue()), TaskClassifier(), Report()
    judged: dict[str, Any] = json.loads(REQUESTS.read_text(encoding="utf-8"))
    accepted = 0
    print("| request | kind, difficulty | " + " | ".join(MODES) + " | acceptable |")
    print("| --- " * (len(MODES) + 3) + "|")
    for name, row in judged.items():
        request = read_request(row["body"])
        task = classifier.classify(request)
        picks = [router.route(replace(request, model=mode), task).chosen.model for mode in MODES]
        is_accepted = picks[0] in row["acceptable"]
        accepted += is_accepted
        mark = "" if is_accepted else " (no)"
        cells = [f"{picks[0]}{mark}", *picks[1:], ", ".join(row["acceptable"])]
        print(f"| {name} | {task.type}, {task.difficulty:.2f} | " + " | ".join(cells) + " |")
    report.add("requests", "auto picks what is acceptable", "of 16", [accepted])
    report.finish(options)


if __name__ == "__main__":
    main()
