"""Runs every benchmark suite and writes docs/performance.md and its tables from the results.

    make bench              every suite, this project alone
    make bench PEERS=1      with its peers, installed into .peers/ by pinned versions
    make bench QUICK=1      a tenth of the work, for a look; writes no page

Each suite is a process of its own and leaves its JSON in .bench/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from peer_install import run_uv
from performance_page import PAGE, TABLES, read_documents, write_pages

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / ".bench"
SUITES = {
    "client": "One call through a client library, in process",
    "pipeline": "One request through the whole pipeline, in process",
    "routing": "Choosing the model: what it saves, and what a decision costs",
    "transcripts": "Reading Claude Code's transcripts",
    "ledger": "The durable ledger",
    "targets": "What the design asks, in process",
    "start": "Start and reports over a filled ledger",
    "server": "The HTTP gateway, one core, beside its peers",
    "http_server": "Its HTTP server alone, one core, beside others",
    "sandbox": "The OpenRouter stand-in, one core",
}
LITELLM = "litellm==1.109.1"
"""The peer of the client suite; it takes part if it is installed in .peers/client/."""


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
        write_pages(read_documents(RESULTS, SUITES), SUITES)
        print(f"Written: {PAGE.relative_to(ROOT)} and {TABLES.relative_to(ROOT)}")
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
    """Install the client suite's peer into .peers/client/, which git ignores."""
    run_uv("pip", "install", "--quiet", "--target", ROOT / ".peers" / "client", LITELLM)


if __name__ == "__main__":
    sys.exit(main())
