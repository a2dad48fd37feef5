"""Measures the HTTP gateway on one core against an instant upstream, beside its peers.

Gateway on one core, load and upstream on the other; rounds of all gateways are interleaved.
Peers are taken where they are installed under `.peers/` (`--install` puts them there: LiteLLM
proxy from PyPI, Portkey's gateway from npm, both pinned) and nginx from the PATH.
CPU is the gateway's own, children included, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import harness
import upstream
from load import BadStatus, Load, chat_request

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".peers"
LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
START_S = 60.0


@dataclass(kw_only=True)
class Gateway:
    """A running gateway, and how to send requests to it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    headers: dict[str, str]
    start_s: float
    """Time from the start of the process to its first answer, in seconds."""
    model_prefix: str = ""

    def cpu_s(self) -> float:
        """Return the user and system time of the process and its children, in seconds."""
        return sum(_read_cpu_s(pid) for pid in _process_tree(self.process.pid))

    def memory_mb(self) -> float:
        """Return the resident memory, children included, in MB."""
        return sum(_read_memory_mb(pid) for pid in _process_tree(self.process.pid))

    def load(self, connections: int, model: str, *, stream: bool) -> Load:
        """Return connections that send requests to this gateway."""
        request = chat_request(
            self.path, self.model_prefix + model, stream=stream, headers=self.headers
        )
        return Load(self.port, request, connections)


def main() -> None:
    """Run the benchmark and print its report."""
    options = harness.parse_arguments(__doc__, _add_options)
    if options.install:
        install()
    report = harness.Report()
    with contextlib.ExitStack() as stack:
        base_url = stack.enter_context(upstream.run_upstream())
        gateways = _start_gateways(stack, base_url, options.only)
        pin(os.getpid(), CORES[-1])
        asyncio.run(measure(report, gateways, base_url, quick=options.quick))
    report.finish(options)


async def measure(
    report: harness.Report, gateways: Sequence[Gateway], base_url: str, *, quick: bool
) -> None:
    """Measure all figures, in rounds interleaved over the gateways."""
    rounds = 2 if quick else 5
    for gateway in gateways:
        report.add(gateway.name, "start", "s", [gateway.start_s])
        report.add(gateway.name, "memory idle", "MB", [gateway.memory_mb()])
    direct = _direct_gateway(base_url)
    for count in (1, 8):
        await _measure_added(report, gateways, direct, count, rounds, quick=quick)
    await _measure_throughput(report, gateways, "bench/model", rounds, quick=quick)
    ours = [one for one in gateways if one.name == "devflow"]
    await _measure_throughput(report, ours, "auto", rounds, quick=quick)
    streaming = [one for one in gateways if await _can_stream(one)]
    await _measure_streams(report, streaming, rounds, quick=quick)
    await _measure_first_event(report, streaming, direct, rounds, quick=quick)
    await _measure_memory(report, gateways, quick=quick)


async def _can_stream(gateway: Gateway) -> bool:
    """Return whether it streams at all: Portkey's gateway 1.15.2 does not on Node.js 20."""
    try:
        async with gateway.load(1, "bench/chunks-51", stream=True) as load:
            await load.run(1)
    except BadStatus as error:
        print(f"{gateway.name} streams nothing here and is left out there. {error}")
        return False
    return True


async def _measure_throughput(
    report: harness.Report,
    gateways: Sequence[Gateway],
    model: str,
    rounds: int,
    *,
    quick: bool,
) -> None:
    rounds_by_name: dict[str, list[tuple[float, float]]] = {one.name: [] for one in gateways}
    for number in range(rounds + 1):
        for gateway in gateways:
            count = _scale_count(gateway, 400 if quick else 4_000)
            async with gateway.load(64, model, stream=False) as load:
                cpu_s, wall_s = gateway.cpu_s(), time.perf_counter()
                await load.run(count)
                wall_s = time.perf_counter() - wall_s
                if number:  # the first round warms up
                    used_us = (gateway.cpu_s() - cpu_s) / count * 1e6
                    rounds_by_name[gateway.name].append((used_us, count / wall_s))
    for name, pairs in rounds_by_name.items():
        report.add(
            name, "cpu_us_auto" if model == "auto" else "cpu_us", "µs", [one[0] for one in pairs]
        )
        report.add(name, f"requests, {model}", "1/s", [one[1] for one in pairs])


async def _measure_streams(
    report: harness.Report, gateways: Sequence[Gateway], rounds: int, *, quick: bool
) -> None:
    rounds_by_name: dict[str, list[tuple[float, float]]] = {one.name: [] for one in gateways}
    for number in range(rounds + 1):
        for gateway in gateways:
            count = _scale_count(gateway, 100 if quick else 1_000)
            async with gateway.load(32, "bench/chunks-51", stream=True) as load:
                cpu_s, wall_s = gateway.cpu_s(), time.perf_counter()
                await load.run(count)
                wall_s = time.perf_counter() - wall_s
                if number:
                    used_us = (gateway.cpu_s() - cpu_s) / count * 1e6
                    rounds_by_name[gateway.name].append((used_us, 51 * count / wall_s))
    for name, pairs in rounds_by_name.items():
        report.add(name, "cpu_us_stream_51", "µs", [one[0] for one in pairs])
        report.add(name, "events at 32 streams", "1/s", [one[1] for one in pairs])


async def _measure_added(
    report: harness.Report,
    gateways: Sequence[Gateway],
    direct: Gateway,
    connections: int,
    rounds: int,
    *,
    quick: bool,
) -> None:
    rounds_by_name: dict[str, list[list[float]]] = {one.name: [] for one in gateways}
    for _ in range(rounds):
        base = await _measure_latencies(direct, connections, "bench/model", 400 if quick else 2_000)
        for gateway in gateways:
            count = _scale_count(gateway, 200 if quick else 2_000)
            seen = await _measure_latencies(gateway, connections, "bench/model", count)
            added = [_quantile(seen, q) - _quantile(base, 0.5) for q in (0.5, 0.99)]
            rounds_by_name[gateway.name].append(added)
    for name, pairs in rounds_by_name.items():
        for place, label in enumerate(("p50", "p99")):
            values = [one[place] * 1e6 for one in pairs]
            report.add(name, f"added {label} at {connections}", "µs", values)


async def _measure_first_event(
    report: harness.Report,
    gateways: Sequence[Gateway],
    direct: Gateway,
    rounds: int,
    *,
    quick: bool,
) -> None:
    model = "bench/paced-5ms-51"
    rounds_by_name: dict[str, list[list[float]]] = {one.name: [] for one in gateways}
    for _ in range(rounds):
        base = await _measure_latencies(direct, 8, model, 64, stream=True)
        for gateway in gateways:
            seen = await _measure_latencies(gateway, 8, model, 32 if quick else 128, stream=True)
            added = [_quantile(seen, q) - _quantile(base, 0.5) for q in (0.5, 0.99)]
            rounds_by_name[gateway.name].append(added)
    for name, pairs in rounds_by_name.items():
        for place, label in enumerate(("p50", "p99")):
            values = [one[place] * 1e6 for one in pairs]
            report.add(name, f"first event added {label} at 8", "µs", values)


async def _measure_memory(
    report: harness.Report, gateways: Sequence[Gateway], *, quick: bool
) -> None:
    for gateway in gateways:
        before_mb = gateway.memory_mb()
        count = 2_000 if quick else 20_000
        async with gateway.load(32, "bench/model", stream=False) as load:
            await load.run(_scale_count(gateway, count))
        report.add(gateway.name, f"memory after {count}", "MB", [gateway.memory_mb()])
        report.add(
            gateway.name, f"memory grown by {count}", "MB", [gateway.memory_mb() - before_mb]
        )


async def _measure_latencies(
    gateway: Gateway, connections: int, model: str, count: int, *, stream: bool = False
) -> list[float]:
    """Return the seconds to the first body byte of each reply, after a warm-up."""
    async with gateway.load(connections, model, stream=stream) as load:
        await load.run(connections * 2)
        return await load.run(count)


def _quantile(values: list[float], q: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[int(q * 1000) - 1]


def _scale_count(gateway: Gateway, count: int) -> int:
    """Return fewer requests for slow gateways, whose rounds would take minutes."""
    slow = {"litellm": 40, "portkey": 5}
    return max(64, count // slow.get(gateway.name, 1))


# the gateways


def _start_gateways(
    stack: contextlib.ExitStack, base_url: str, only: list[str] | None
) -> list[Gateway]:
    makers = {"devflow": _devflow, "nginx": _nginx, "portkey": _portkey, "litellm": _litellm}
    chosen = [makers[name] for name in (only or makers)]
    started = [stack.enter_context(make(base_url)) for make in chosen]
    return [one for one in started if one is not None]


@contextlib.contextmanager
def _devflow(base_url: str) -> Generator[Gateway | None]:
    """Run DevFlow with everything on: routing, durable ledger, budgets; no client key needed."""
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SERVE, base_url, str(port), folder]
        with run_gateway("devflow", command, port, "/v1/chat/completions") as gateway:
            yield gateway


_SERVE = """
import sys
from devflow_core import log
from devflow_core.settings import Settings
from devflow_server import serve
base_url, port, folder = sys.argv[1:]
log.configure("warning", "json")
price = {"prompt_usd_per_mtok": "0.25", "completion_usd_per_mtok": "0.25", "context_length": 100000}
names = ("bench/model", "bench/chunks-51", "bench/paced-5ms-51")
serve(Settings.load({}, None, base_url=base_url, api_key="sk-or-v1-bench", port=int(port),
                    require_key=False, data_dir=folder, max_concurrency=1024,
                    models={name: price for name in names}))
"""


@contextlib.contextmanager
def _nginx(base_url: str) -> Generator[Gateway | None]:
    """Run a plain reverse proxy, as the lower bound."""
    binary = shutil.which("nginx")
    if binary is None:
        yield None
        return
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;"
            "events { worker_connections 1024; }"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
            f"upstream u {{ server {urlsplit(base_url).netloc}; keepalive 256; }}"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u;"
            'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }'
        )
        command = [binary, "-c", str(config), "-p", folder]
        with run_gateway("nginx", command, port, "/api/v1/chat/completions") as gateway:
            yield gateway


@contextlib.contextmanager
def _portkey(base_url: str) -> Generator[Gateway | None]:
    script = PEERS / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not script.is_file() or shutil.which("node") is None:
        yield None
        return
    port = find_free_port()
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": base_url,
        "authorization": "Bearer sk-bench",
    }
    command = ["node", str(script), f"--port={port}", "--headless"]
    with run_gateway("portkey", command, port, "/v1/chat/completions", headers) as gateway:
        yield gateway


@contextlib.contextmanager
def _litellm(base_url: str) -> Generator[Gateway | None]:
    binary = PEERS / "litellm/bin/litellm"
    if not binary.is_file():
        yield None
        return
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        names = ("bench/model", "bench/chunks-51", "bench/paced-5ms-51")
        rows = "".join(
            f"  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n"
            f"      api_base: {base_url}\n      api_key: sk-bench\n"
            for name in names
        )
        config.write_text(f"model_list:\n{rows}")
        command = [str(binary), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
        with run_gateway("litellm", command, port, "/v1/chat/completions") as gateway:
            yield gateway


_PEERS_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # as DevFlow here: on loopback, without keys
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "NO_COLOR": "1",
}


def _direct_gateway(base_url: str) -> Gateway:
    """Return the upstream itself, whose times are subtracted."""
    place = urlsplit(base_url)
    return Gateway(
        name="direct",
        process=subprocess.Popen(["true"]),
        port=place.port or 80,
        path=f"{place.path}/chat/completions",
        headers={},
        start_s=0.0,
    )


@contextlib.contextmanager
def run_gateway(
    name: str, command: list[str], port: int, path: str, headers: dict[str, str] | None = None
) -> Generator[Gateway]:
    """Start a server on the first core, wait until it accepts, and end it on exit."""
    began_s = time.perf_counter()
    environment = {**os.environ, **_PEERS_ENVIRONMENT}
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, {CORES[0]}),  # noqa: PLW1509
    )
    try:
        _wait_for(port, process)
        gateway = Gateway(
            name=name,
            process=process,
            port=port,
            path=path,
            headers=headers or {},
            start_s=time.perf_counter() - began_s,
        )
        yield gateway
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket

    until_s = time.perf_counter() + START_S
    while time.perf_counter() < until_s:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} has ended with {process.returncode}.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise SystemExit(f"{process.args!r} did not answer within {START_S:g} s.")


def find_free_port() -> int:
    """Return a free loopback port."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def pin(pid: int, core: int) -> None:
    """Pin a process to one core."""
    os.sched_setaffinity(pid, {core})


def _process_tree(pid: int) -> list[int]:
    pids = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in thread.read_text().split():
                pids += _process_tree(int(child))
    return pids


def _read_cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S
    return 0.0


def _read_memory_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def install() -> None:
    """Install the pinned peers under `.peers/`, and nothing elsewhere."""
    PEERS.mkdir(exist_ok=True)
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    if not (PEERS / "litellm").is_dir():
        subprocess.run([uv, "venv", "-q", str(PEERS / "litellm")], check=True)
        python = str(PEERS / "litellm/bin/python")
        subprocess.run([uv, "pip", "install", "-q", "-p", python, LITELLM], check=True)
    if shutil.which("npm") and not (PEERS / "node_modules/@portkey-ai").is_dir():
        command = ["npm", "install", "--ignore-scripts", "--prefix", str(PEERS), PORTKEY]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _add_options(parser: argparse.ArgumentParser) -> None:
    names = ["devflow", "nginx", "portkey", "litellm"]
    parser.add_argument("--only", nargs="+", choices=names, help="these gateways")
    parser.add_argument("--install", action="store_true", help="fetch the peers first")


if __name__ == "__main__":
    main()
