"""`python -m devflow_sandbox`: runs a sandbox as a separate process."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import orjson
from devflow_core.errors import ConfigurationError
from devflow_core.processes import end_when, read_to_end

from devflow_sandbox.faults.plan import find_case
from devflow_sandbox.sandbox import Sandbox
from devflow_sandbox.serving import serve


def _announce(sandbox: Sandbox) -> None:
    """Write one line of JSON to standard output, for the program that started this one."""
    announcement = {
        "base_url": sandbox.base_url,
        "url": sandbox.url,
        "api_key": sandbox.api_key,
        "management_key": sandbox.management_key,
    }
    sys.stdout.buffer.write(orjson.dumps(announcement) + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve until a signal ends the process.

    Returns 0, or 3 if a script is invalid or the case is unknown.
    """
    parser = argparse.ArgumentParser(prog="python -m devflow_sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=Path, help="a fault script")
    parser.add_argument("--fault", metavar="ID", help="a case of the fault plan (U12-date)")
    parser.add_argument("--script", type=Path, help="a script of turns")
    parser.add_argument("--tokens-per-s", type=float, help="how fast replies are streamed")
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="end when standard input is closed"
    )
    options = parser.parse_args(arguments)
    if options.until_stdin_ends:
        # a parent that is killed closes its end of the pipe, so no sandbox is left behind
        end_when(lambda: read_to_end(sys.stdin.fileno()))
    try:
        sandbox = Sandbox(
            host=options.host,
            port=options.port,
            faults=find_case(options.fault) if options.fault else options.faults,
            script=options.script,
            seed=options.seed,
            tokens_per_s=options.tokens_per_s,
        )
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    asyncio.run(serve(sandbox, _announce))
    return 0


if __name__ == "__main__":
    sys.exit(main())
