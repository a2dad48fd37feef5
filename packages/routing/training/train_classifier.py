"""Trains `data/classifier.npz`: kinds of task, and how likely a small model is to fail.

    uv run python packages/routing/training/train_classifier.py

Reads `benchmarks/data/routing`: `tasktype.jsonl.gz`, `public.jsonl.gz` and `written_requests.txt`,
of them only what `devflow_routing.training.classifier` lists. `benchmarks/routing_tasks.py` judges
the result.
"""

from __future__ import annotations

import sys
from pathlib import Path

from devflow_routing.training.classifier import read_examples, train_classifier

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "routing"
OUTPUT_PATH = Path(__file__).parents[1] / "src" / "devflow_routing" / "data" / "classifier.npz"


def main() -> None:
    """Train and write."""
    examples = read_examples(DATA)
    train_classifier(examples).save(OUTPUT_PATH)
    sys.stdout.write(f"{OUTPUT_PATH.name}: learned from {len(examples)} prompts\n")


if __name__ == "__main__":
    main()
