"""Starts the gateways that are measured, each on one core, on a port of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asks
import upstream
from filled_ledger import copy_ledger
from load import Load

CORES = sorted(os.sched_getaffinity(0))
START_S = 180.0
"""A gateway that has not answered by then does not take part."""
MODELS = tuple(f"bench/{shape}" for shape in upstream.SHAPES)
BUDGET_USD = "1000000"
_PRICE = {
    "prompt_usd_per_mtok": "0.25",
    "completion_usd_per_mtok": "0.25",
    "context_length": 1_000_000,
}


class Absent(RuntimeError):
    """A peer cannot be had here; the message says why."""


@dataclass(kw_only=True)
class Gateway:
    """A running gateway, and how to send requests to it."""

    name: str
    process: subprocess.Popen[bytes] | None
    """None is the upstream itself, which no gateway stands before."""
    port: int
    routes: Mapping[str, str]
    """The path of each dialect that it speaks."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    model: str = "{}"
    """How it calls a model of the upstream."""
    start_s: float = 0.0
    """Time from the start of the process to its first answer, in seconds."""

    def cpu_s(self) -> float:
        """Return the CPU time of the process and its children, in seconds."""
        if self.process is None:
            return 0.0
        return sum(_read_cpu_s(pid) for pid in process_tree(self.process.pid))

    def memory_mb(self) -> float:
        """Return the resident memory, children included, in MB."""
        assert self.process is not None
        return sum(_read_memory_mb(pid) for pid in process_tree(self.process.pid))

    def requests(self, dialect: str, model: str, **fields: Any) -> list[bytes]:
        """Return requests to this gateway; arguments as for `asks.make_requests`."""
        name = self.model.format(model)
        return asks.make_requests(self.routes[dialect], name, headers=self.headers, **fields)

    def load(self, connections: int, dialect: str, model: str, **fields: Any) -> Load:
        """Return connections that send requests to this gateway."""
        return Load(self.port, self.requests(dialect, model, **fields), connections)


def process_tree(pid: int) -> list[int]:
    """Return a process and its children, as far as they live."""
    pids = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in thread.read_text().split():
                pids += process_tree(int(child))
    return pids


def _read_cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)  # the clock of all threads of another process
    return 0.0


def _read_memory_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a gateway is started."""

    command: Sequence[str | Path]
    port: int | None
    """None: the gateway takes one and prints it as its first line."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    cores: Sequence[int] = (CORES[0],)


@contextlib.contextmanager
def run_process(start: Start) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Start a server and yield it with its port, which may not yet answer; end it on exit."""
    process = subprocess.Popen(
        [str(word) for word in start.command],
        stdout=subprocess.DEVNULL if start.port else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **start.environment},
        preexec_fn=lambda: os.sched_setaffinity(0, start.cores),  # noqa: PLW1509
    )
    try:
        yield process, start.port or int(process.stdout.readline() or 0)  # type: ignore[union-attr] # piped
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def run_gateway(
    name: str, start: Start, routes: Mapping[str, str], **more: Any
) -> Generator[Gateway]:
    """Start a gateway, wait for its first answer to a request, and end it on exit.

    Raises:
        Absent: it ends, or does not answer in time.
    """
    began_s = time.perf_counter()
    with run_process(start) as (process, port):
        gateway = Gateway(name=name, process=process, port=port, routes=routes, **more)
        dialect = next(iter(routes))
        wait_for_answer(gateway, gateway.requests(dialect, "bench/model")[0])
        gateway.start_s = time.perf_counter() - began_s
        yield gateway


def wait_for_answer(gateway: Gateway, request: bytes) -> None:
    """Send a request until it is answered with 200.

    Raises:
        Absent: that does not come in time.
    """
    process, answer = gateway.process, b""
    assert process is not None
    until_s = time.perf_counter() + START_S
    while time.perf_counter() < until_s:
        if process.poll() is not None:
            raise Absent(f"{gateway.name} has ended with {process.returncode}")
        with contextlib.suppress(OSError):
            answer = _ask_once(gateway.port, request)
            if answer.startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.005)
    raise Absent(f"{gateway.name} did not answer within {START_S:g} s; at last {answer[:300]!r}")


def _ask_once(port: int, request: bytes) -> bytes:
    import socket

    with socket.create_connection(("127.0.0.1", port), START_S) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def find_free_port() -> int:
    """Return a free loopback port."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def pin(pid: int, core: int) -> None:
    """Pin a process to one core."""
    os.sched_setaffinity(pid, {core})


def direct_gateway(base_url: str) -> Gateway:
    """Return the upstream itself, whose times are subtracted."""
    place = urlsplit(base_url)
    return Gateway(
        name="direct", process=None, port=place.port or 80, routes=routes_below(place.path)
    )


def routes_below(path: str) -> dict[str, str]:
    """Return the paths of the dialects that a gateway answers below a path."""
    return {asks.CHAT: f"{path}{asks.CHAT}", asks.MESSAGES: f"{path}{asks.MESSAGES}"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A way to run DevFlow."""

    rows: int
    """The requests that its ledger holds at the start."""
    has_keys: bool = True
    """Whether clients need a key, and a budget is watched."""
    workers: int = 1


def devflow_environment(base_url: str, folder: Path, setup: Setup) -> dict[str, str]:
    """Return the environment of `devflow serve` over a data folder."""
    return {
        "OPENROUTER_API_KEY": "sk-or-v1-bench",
        "XDG_CONFIG_HOME": str(folder / "no-config"),
        "DEVFLOW_DATA_DIR": str(folder),
        "DEVFLOW_BASE_URL": base_url,
        "DEVFLOW_MAX_CONCURRENCY": "4096",
        "DEVFLOW_MAX_QUEUE": "4096",
        "DEVFLOW_WORKERS": str(setup.workers),
        "DEVFLOW_MODELS": json.dumps(dict.fromkeys(MODELS, _PRICE)),
        **({"DEVFLOW_COST_BUDGET_USD": BUDGET_USD} if setup.has_keys else {}),
    }


def devflow_start(base_url: str, folder: Path, setup: Setup) -> Start:
    """Return how `devflow serve`, the installed command, is started."""
    port = find_free_port()
    command: list[str | Path] = [find_devflow(), "serve", "--port", str(port)]
    return Start(
        command=command if setup.has_keys else [*command, "--no-key"],
        port=port,
        environment=devflow_environment(base_url, folder, setup),
        cores=CORES if setup.workers > 1 else CORES[:1],
    )


def create_key(start: Start) -> str:
    """Return a new client key for chat."""
    command = [find_devflow(), "keys", "create", "bench", "--route", "chat"]
    environment = {**os.environ, **start.environment}
    said = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return said.stdout.strip()


def find_devflow() -> Path:
    """Return the installed command."""
    return Path(sys.executable).with_name("devflow")


@contextlib.contextmanager
def devflow(base_url: str, setup: Setup, name: str = "devflow") -> Generator[Gateway]:
    """Run DevFlow with everything on: client keys, a budget, routing, a durable ledger."""
    with copy_ledger(setup.rows) as folder:
        start = devflow_start(base_url, folder, setup)
        headers = {"authorization": f"Bearer {create_key(start)}"} if setup.has_keys else {}
        with run_gateway(name, start, routes_below("/v1"), headers=headers) as gateway:
            yield gateway
