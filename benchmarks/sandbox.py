"""Measures the stand-in for OpenRouter, which must never limit another benchmark.

The sandbox is a process of its own; what counts is its CPU time, so that the load generator and
whatever else the machine does are not in the figures. A rate on one core is its inverse. Reads
/proc, so it needs Linux.

    uv run python benchmarks/sandbox.py [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import load
import orjson

ROUNDS, QUICK_ROUNDS = 7, 3
REPLIES, QUICK_REPLIES = 4_000, 600
STREAMS, QUICK_STREAMS = 400, 60
CONNECTIONS = 16
MODEL = "openai/gpt-5-mini"
GOAL_REPLIES_PER_S, GOAL_EVENTS_PER_S = 3_000, 100_000
LONG_PROMPT = "Read the whole of src/app.py and say what each function does. " * 40
"""The prompt of the long stream; its reply is scripted, since the sandbox's own are short."""


@contextmanager
def run_sandbox(script: Path) -> Generator[tuple[int, dict[str, Any]]]:
    """Run a sandbox in a separate process; yield its process id and its announcement."""
    command = [sys.executable, "-m", "devflow_sandbox", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            yield child.pid, orjson.loads(child.stdout.readline())
        finally:
            child.terminate()
            child.wait()


def read_cpu_s(pid: int) -> float:
    """Return the CPU time of a process in user and system mode, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_script(folder: Path) -> Path:
    """Write a script with a reply of 1,000 words for the long streams."""
    words = " ".join(f"word{number}" for number in range(1000))
    turn = {"when": {"contains": "src/app.py"}, "reply": {"text": words}, "repeat": True}
    path = folder / "sandbox-benchmark.json"
    path.write_bytes(orjson.dumps({"turns": [turn]}))
    return path


def count_events(port: Any, request: bytes) -> int:
    """Return the number of events in one stream."""

    async def read() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += await reader.read(1 << 20)
        writer.close()
        return received.count(b"data: ")

    return asyncio.run(read())


async def measure_cpu_us(pid: int, port: int, request: bytes, count: int) -> float:
    """Return the sandbox's CPU time per request, in µs."""
    async with load.Load(port, [request], CONNECTIONS) as clients:
        await clients.run(CONNECTIONS * 2)
        start_s = read_cpu_s(pid)
        await clients.run(count)
        return (read_cpu_s(pid) - start_s) * 1e6 / count


def main() -> None:
    """Run the benchmark and print its report."""
    options = harness.parse_arguments(__doc__)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    replies = QUICK_REPLIES if options.quick else REPLIES
    streams = QUICK_STREAMS if options.quick else STREAMS
    report = harness.Report()
    with tempfile.TemporaryDirectory() as folder, run_sandbox(write_script(Path(folder))) as one:
        pid, announced = one
        port = int(announced["url"].rsplit(":", 1)[1])
        headers = {"authorization": f"Bearer {announced['api_key']}"}
        path = "/api/v1/chat/completions"
        plain = load.chat_request(path, MODEL, stream=False, headers=headers)
        body = plain.partition(b"\r\n\r\n")[2]
        long_body = orjson.loads(body) | {"stream": True, "max_tokens": 20_000}
        long_body["messages"] = [{"role": "user", "content": LONG_PROMPT}]
        long = _replace_body(plain, orjson.dumps(long_body))
        count = count_events(port, long)
        plain_us: list[float] = []
        stream_us: list[float] = []
        for _ in range(rounds):
            plain_us.append(asyncio.run(measure_cpu_us(pid, port, plain, replies)))
            stream_us.append(asyncio.run(measure_cpu_us(pid, port, long, streams)))
    _report_figures(report, plain_us, stream_us, count)
    report.finish(options)


def _replace_body(request: bytes, body: bytes) -> bytes:
    head = request.partition(b"\r\n\r\n")[0]
    lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"content-length")]
    return b"\r\n".join((*lines, b"content-length: %d" % len(body), b"", body))


def _report_figures(
    report: harness.Report, plain_us: list[float], stream_us: list[float], count: int
) -> None:
    report.add("plain reply", "cpu_us", "µs", plain_us)
    per_s = report.add("plain reply", "per_core_per_s", "replies/s", [1e6 / us for us in plain_us])
    report.add(f"stream of {count} events", "cpu_us", "µs", stream_us)
    report.add("event of a stream", "cpu_us", "µs", [us / count for us in stream_us])
    event_rate = report.add(
        "event of a stream", "per_core_per_s", "events/s", [1e6 * count / us for us in stream_us]
    )
    print(
        f"goals: {GOAL_REPLIES_PER_S:,} replies/s {_format_goal(per_s, GOAL_REPLIES_PER_S)}, "
        f"{GOAL_EVENTS_PER_S:,} events/s {_format_goal(event_rate, GOAL_EVENTS_PER_S)}"
    )


def _format_goal(value: float, goal: float) -> str:
    return "met" if value >= goal else "not met"


if __name__ == "__main__":
    main()
