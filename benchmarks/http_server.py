"""Compares our HTTP server with uvicorn (httptools, uvloop, bare ASGI) and granian (RSGI).

The same application behind each, on one core; the same client on the other; rounds interleaved.
Given is the CPU of the server alone, children and threads included, as the kernel counts it:
for a request with a reply of 1 kB at 64 connections, and for a stream of 51 events at 32, in one
go and with a turn of the event loop after each event. The peers are taken where they are
installed in `.peers/http` (`--install` puts them there, pinned).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import harness
from gateways import CORES, Gateway, Start, find_free_port, pin, run_gateway
from load import Load, chat_request
from peer_install import PEERS, run_uv

HOME = PEERS / "http"
PINNED = ("uvicorn==0.54.0", "granian==2.8.9", "httptools==0.9.0", "uvloop==0.23.0")
APPS = Path(__file__).parent
WAYS = (
    ("cpu_us", "/", 64, 8_000),
    ("cpu_us_stream_51", "/stream", 32, 2_000),
    ("cpu_us_stream_51_turns", "/turns", 32, 2_000),
)
"""Name of the figure, path, connections, and requests per round."""


def main() -> None:
    """Run the benchmark and print its report."""
    options = harness.parse_arguments(__doc__, _add_options)
    if options.install:
        install()
    report = harness.Report()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(one) for one in _all_servers()]
        pin(os.getpid(), CORES[-1])
        asyncio.run(measure(report, servers, quick=options.quick))
    report.finish(options)


async def measure(report: harness.Report, servers: Sequence[Gateway], *, quick: bool) -> None:
    """Measure every figure for every server; the first round is a warm-up."""
    for metric, path, connections, count in WAYS:
        request = chat_request(path, "any", stream=path != "/", headers={})
        used_us: dict[str, list[float]] = {one.name: [] for one in servers}
        total = count // 10 if quick else count
        for number in range(3 if quick else 8):
            for server in servers:
                async with Load(server.port, [request], connections) as load:
                    cpu_s = server.cpu_s()
                    await load.run(total)
                if number:
                    used_us[server.name].append((server.cpu_s() - cpu_s) / total * 1e6)
        for name, values in used_us.items():
            report.add(name, metric, "µs", values)


def _all_servers() -> list[contextlib.AbstractContextManager[Gateway]]:
    """Start ours, and the peers that are installed."""
    commands = {"devflow": [sys.executable, str(APPS / "http_apps.py"), "{port}"]}
    if (HOME / "bin").is_dir():
        binary = str(HOME / "bin")
        commands["uvicorn"] = [
            *(f"{binary}/uvicorn", "http_apps:asgi_app", "--app-dir", str(APPS)),
            *("--http", "httptools", "--loop", "uvloop", "--port", "{port}"),
            *("--no-access-log", "--lifespan", "off", "--ws", "none"),
        ]
        commands["granian"] = [
            *(f"{binary}/granian", "http_apps:rsgi_app", "--working-dir", str(APPS)),
            *("--interface", "rsgi", "--http", "1", "--loop", "uvloop", "--port", "{port}"),
            *("--workers", "1", "--runtime-threads", "1", "--no-ws", "--no-access-log"),
        ]
    servers: list[contextlib.AbstractContextManager[Gateway]] = []
    for name, command in commands.items():
        port = find_free_port()
        words = [str(port) if word == "{port}" else word for word in command]
        start = Start(command=words, port=port)
        servers.append(run_gateway(name, start, {"any": "/"}))
    return servers


def install() -> None:
    """Install the peers into a separate environment under `.peers/`."""
    PEERS.mkdir(exist_ok=True)
    if not HOME.is_dir():
        run_uv("venv", "-q", HOME)
    run_uv("pip", "install", "-q", "-p", HOME / "bin/python", *PINNED)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--install", action="store_true", help="fetch the peers first")


if __name__ == "__main__":
    main()
