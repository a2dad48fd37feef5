"""Reads recorded rows, and makes examples and worlds of them; holds no router of its own."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from devflow_routing.training.examples import Example

Rows = list[dict[str, Any]]

WORLDS = {"RB": "rb_", "ZE": "ze_", "MP": "mmlupro", "FU": "fu9_", "BF": "bfcl"}
"""The five worlds, by the prefix of their benchmarks' names."""
ROUTELLM = ("rl_mmlu", "rl_gsm8k", "rl_mtbench")
SWE_BENCH = "swebv"
SPLITS = frozenset({"train", "test", "dev", "validation"})
"""Names of subsets that are not domains."""
MIN_PRICED_SHARE = 0.95
"""The share of a world's prompts that a model needs a cost for."""


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all rows with results from a folder's `*.jsonl` and `*.jsonl.gz`."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                if "results" in row and not _meta(row).get("contaminated"):
                    yield row


def read_unseen(folder: Path, public: Rows) -> Rows:
    """Return the rows of a folder that are not among the public ones, which were learned from."""
    known = {row["prompt_id"] for row in public}
    return [row for row in read_rows(folder) if row["prompt_id"] not in known]


def rows_of_world(rows: Rows, name: str) -> Rows:
    """Return a world's rows."""
    return [row for row in rows if row["benchmark"].startswith(WORLDS[name])]


def find_models(rows: Rows) -> tuple[str, ...]:
    """Return the models with a cost for nearly every prompt of the rows."""
    priced = Counter(name for row in rows for name, one in row["results"].items() if one.get("c"))
    return tuple(
        sorted(name for name, count in priced.items() if count >= MIN_PRICED_SHARE * len(rows))
    )


def make_examples(rows: Iterable[dict[str, Any]], models: Sequence[str]) -> list[Example]:
    """Return an example for each row that all the models have a score for."""
    return [
        Example(
            prompt=_text(row),
            scores={name: row["results"][name]["s"] for name in models},
            costs_usd={name: cost for name in models if (cost := row["results"][name].get("c"))},
            domain=domain_of(row),
        )
        for row in rows
        if all(_is_scored(row["results"].get(name)) for name in models)
    ]


def domain_of(row: dict[str, Any]) -> str:
    """Return the domain of a row."""
    benchmark, subset = row["benchmark"], row["subset"]
    return benchmark if subset in SPLITS else f"{benchmark}/{subset}"


def _is_scored(result: dict[str, Any] | None) -> bool:
    return result is not None and result["s"] is not None and math.isfinite(result["s"])


def _text(row: dict[str, Any]) -> str:
    """Return the prompt; BFCL's tools stand below it, since the router reads the human's words."""
    tools = _meta(row).get("tools")
    return f"{row['prompt']}\n{tools}" if tools else row["prompt"]


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("meta") or {}
