"""Measures how far off the estimates of tokens are, by family of tokenizer and kind of text.

    uv run python benchmarks/tokens.py

Against the true counts in `data/tokens/samples.json`. `estimate` is its share of the true count,
the lowest and the highest of the samples; `upper end`, what budgets reserve, must never be under 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devflow_core.tokens import FAMILIES, TextSize, TokenizerFamily

SAMPLES = Path(__file__).parent / "data" / "tokens" / "samples.json"


def describe(family: TokenizerFamily, name: str, samples: list[dict[str, Any]]) -> str:
    """Return the lowest and highest share of the true count, for the estimate and its upper end."""
    pairs = [(TextSize.from_texts((one["text"],)), one["counts"][name]) for one in samples]
    likely = [size.estimate_tokens(family) / count for size, count in pairs]
    upper = [size.upper_tokens(family) / count for size, count in pairs]
    return f"{min(likely):.2f}-{max(likely):.2f} ({min(upper):.2f}-{max(upper):.2f})"


def main() -> None:
    """Print the table."""
    samples: list[dict[str, Any]] = list(json.loads(SAMPLES.read_bytes()).values())
    kinds = dict.fromkeys(one["kind"] for one in samples)
    print("| family | stated error |", " | ".join(f"{kind} (upper end)" for kind in kinds), "|")
    print("| --- | --- |", " | ".join("---" for _ in kinds), "|")
    for name, family in FAMILIES.items():
        cells = [describe(family, name, [s for s in samples if s["kind"] == k]) for k in kinds]
        print(f"| {name} | {family.error:.0%} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
