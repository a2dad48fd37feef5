"""Runs every benchmark suite and writes docs/performance.md from the results.

    make bench              every suite, this project alone
    make bench PEERS=1      with its peers, installed into .peers/ by pinned versions
    make bench QUICK=1      a tenth of the work, for a look; writes no page

Each suite is a process of its own and leaves its JSON in .bench/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / ".bench"
PAGE = ROOT / "docs" / "performance.md"
SUITES = {
    "client": "One call through a client library, in process",
    "pipeline": "One request through the whole pipeline, in process",
    "routing": "Choosing the model: what it saves, and what a decision costs",
    "transcripts": "Reading Claude Code's transcripts",
    "ledger": "The durable ledger",
    "server": "The HTTP gateway, one core",
    "http_server": "Its HTTP server alone, one core, beside others",
    "sandbox": "The OpenRouter stand-in, one core",
}
LITELLM = "litellm==1.109.1"
"""The peer of the client suite; it takes part if it is installed in .peers/."""
HEADER = """# Performance

Written by `make bench` from the JSON of each suite; do not edit. Rounds of the things compared are
interleaved, so a slow moment of the machine falls on all alike. Figures move with the machine, and
this one is shared: hold on to the ratios.

"""

FOOTER = """
## What is not reached, and what stands in the way

* A request with the choice of a model and the durable ledger was to cost less than 230 µs of CPU in
  process, and 98 µs in the server. The time of `benchmarks/pipeline.py --profile` goes, in this
  order, to: choosing (classification, expected cost and quality of 400 models), the wire format
  (reading each event into a value), the client, the values of the ledger, and asyncio. No part
  stands out; each would have to lose half.
* A named model skips the choice and is the path of most clients; a streamed event is well below its
  goal of 8 µs.
* A lone request waits for two synced writes of the ledger; only requests side by side share them.
"""


def main() -> int:
    """Run the suites; return the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--page-only", action="store_true", help="only write the page anew")
    parser.add_argument("--page", action="store_true", help="write the page after --quick as well")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    names = args.suites or list(SUITES)
    failed = 0 if args.page_only else sum(run(name, args) for name in names)
    if not args.quick or args.page:
        PAGE.write_text(render_page(), encoding="utf-8")
        print(f"Written: {PAGE.relative_to(ROOT)}")
    return failed


def run(name: str, args: argparse.Namespace) -> bool:
    """Run one suite; return whether it failed."""
    print(f"\n── {name}: {SUITES[name]}", flush=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(RESULTS / f"{name}.json")]
    if args.quick:
        command.append("--quick")
    if args.peers and name in ("server", "http_server"):
        command.append("--install")
    if args.peers and name == "client":
        fetch_litellm()
    start_s = time.monotonic()
    completed = subprocess.run(command, cwd=ROOT, check=False)
    print(f"── {name}: {time.monotonic() - start_s:.0f} s, exit {completed.returncode}", flush=True)
    return completed.returncode != 0


def fetch_litellm() -> None:
    """Install the client suite's peer into .peers/, which git ignores."""
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "pip", "install", "--quiet", "--target", str(ROOT / ".peers"), LITELLM]
    subprocess.run(command, cwd=ROOT, check=True)


def render_page() -> str:
    """Return the page over all results available."""
    documents = {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name in SUITES
        if (file := RESULTS / f"{name}.json").is_file()
    }
    if not documents:
        return HEADER
    newest = next(iter(documents.values()))
    machine = ", ".join(f"{key} {value}" for key, value in newest["machine"].items())
    versions = ", ".join(f"{key} {value}" for key, value in newest["versions"].items())
    sections = "\n".join(render_section(name, document) for name, document in documents.items())
    return f"{HEADER}Machine: {machine}. Versions: {versions}.\n\n{sections}{FOOTER}"


def render_section(name: str, document: dict[str, Any]) -> str:
    """Return one suite's table."""
    lines = [f"## {SUITES[name]}", "", f"`uv run python benchmarks/{name}.py`", ""]
    lines += ["| what | metric | median | range of rounds | rounds | unit |"]
    lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
    for one in document["results"]:
        span = (
            f"{format_figure(one['min'])} – {format_figure(one['max'])}"
            if one["rounds"] > 1
            else ""
        )
        rounds = str(one["rounds"])
        cells = (
            one["name"],
            one["metric"],
            format_figure(one["median"]),
            span,
            rounds,
            one["unit"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def format_figure(value: float) -> str:
    """Return a figure with three significant digits, or with thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
