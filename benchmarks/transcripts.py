"""Measures reading transcripts: 100 MB, appended lines, and the context of 10 MB with its facts.

    uv run python benchmarks/transcripts.py [--quick] [--json FILE]

The long sessions are made of a recorded one, its turns repeated with ids of their own: rows of
Claude Code 2.0 (short, so there are many) and of 2.1 (some long). Memory is the peak of a process
of its own that does nothing else. Facts are planted in texts, todo items, files, failing commands
and questions of a long session; those count that stand in the context at a quarter of its size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from devflow_claude_code import ClaudeCodeSession, Transcript
from devflow_claude_code.testing import build_planted_session
from peak import read_peak_mb

SESSIONS = Path(__file__).parents[1] / "examples" / "sessions"
SHORT_ROWS = SESSIONS / "cff48090-c151-4e17-ba68-ae0668522e9c.jsonl"
LONG_ROWS = SESSIONS / "b0b4c439-0397-43ca-ab6e-d4217f8a9811.jsonl"
MEGABYTE = 1_000_000
ASSISTANT = b'"type":"assistant"'


def repeat_turns(sample: Path, size_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a long session made of the sample's turns."""
    rows = [json.loads(line) for line in sample.read_text(encoding="utf-8").splitlines()]
    written, last, turn = 0, None, 0
    while written < size_bytes:
        turn += 1
        for row in rows:
            copy = _rename_ids(row, turn)
            if "uuid" in copy:
                copy["parentUuid"] = copy["parentUuid"] or last
                last = copy["uuid"]
            if copy.get("type") == "last-prompt":
                copy["leafUuid"] = last
            line = json.dumps(copy, separators=(",", ":")).encode() + b"\n"
            written += len(line)
            yield line


def _rename_ids(row: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return the row with ids that are unique to this turn."""
    text = json.dumps(row)
    for name in ("uuid", "parentUuid"):
        if row.get(name):
            text = text.replace(row[name], f"{turn:08x}{row[name][8:]}")
    text = text.replace('"toolu_', f'"toolu_{turn}_').replace('"msg_', f'"msg_{turn}_')
    return json.loads(text)


def write_session(sample: Path, size_bytes: int, folder: Path) -> Path:
    """Write a session file of about this size."""
    path = folder / f"{sample.stem}.jsonl"
    with path.open("wb") as file:
        file.writelines(repeat_turns(sample, size_bytes))
    return path


def measure_reading(report: harness.Report, path: Path, name: str, rounds: int) -> None:
    """Measure reading a whole file, its memory, and one appended line."""
    megabytes = path.stat().st_size / MEGABYTE
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        Transcript(path).refresh()
        times.append((time.perf_counter() - start) * 100 / megabytes)
    report.add(f"read 100 MB, {name}", "time", "s", times)
    peak = subprocess.run(
        [sys.executable, __file__, "--peak", str(path)], capture_output=True, check=True, text=True
    )
    report.add(f"read {megabytes:.0f} MB, {name}", "peak memory", "MB", [float(peak.stdout)])
    report.add(
        f"append to {megabytes:.0f} MB, {name}", "time", "ms", measure_append(path, rounds * 5)
    )


def measure_append(path: Path, rounds: int) -> list[float]:
    """Return the milliseconds to read one more line, for each round."""
    transcript = Transcript(path)
    transcript.refresh()
    line = next(raw for raw in path.read_bytes().splitlines(keepends=True) if ASSISTANT in raw)
    times: list[float] = []
    for _ in range(rounds):
        with path.open("ab") as file:
            file.write(line)
        start = time.perf_counter()
        assert transcript.refresh()
        times.append((time.perf_counter() - start) * 1000)
    return times


def print_peak(path: str) -> None:
    """Read a session and print this process's peak memory in MB."""
    session = ClaudeCodeSession.open(path)
    assert session.conversation
    print(read_peak_mb())


def measure_context(report: harness.Report, path: Path, name: str, rounds: int) -> None:
    """Measure the context from an open session, and from the file."""
    extracted: list[float] = []
    opened: list[float] = []
    used: list[float] = []
    for _ in range(rounds):
        start, start_cpu = time.perf_counter(), time.process_time()
        session = ClaudeCodeSession.open(path)
        assert session.history
        middle = time.perf_counter()
        session.context(8_000)
        end = time.perf_counter()
        extracted.append((end - middle) * 1000)
        opened.append((end - start) * 1000)
        used.append((time.process_time() - start_cpu) * 1000)
    report.add(f"context of 10 MB, {name}", "time, session open", "ms", extracted)
    report.add(f"context of 10 MB, {name}", "time, from the file", "ms", opened)
    report.add(f"context of 10 MB, {name}", "CPU, from the file", "ms", used)


def measure_facts(report: harness.Report, folder: Path, rounds: int) -> None:
    """Measure how many of 20 planted facts the context holds at a quarter of the session's size."""
    counts: list[float] = []
    for seed in range(rounds * 4):
        script, facts = build_planted_session(seed, 60)
        path = folder / "planted.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in script.rows), encoding="utf-8")
        context = ClaudeCodeSession.open(path).context(script.tokens // 4)
        injected = "".join(piece.text for piece in context.pieces)
        counts.append(sum(fact in injected for fact in facts))
    report.add("20 planted facts, a quarter of the size", "found", "facts", counts)


def main() -> None:
    """Run the benchmark."""
    if "--peak" in sys.argv:
        print_peak(sys.argv[-1])
        return
    options = harness.parse_arguments(__doc__)
    report = harness.Report()
    rounds, share = (3, 0.1) if options.quick else (5, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        for sample, name in ((SHORT_ROWS, "short rows"), (LONG_ROWS, "long rows")):
            path = write_session(sample, int(100 * MEGABYTE * share), Path(folder))
            measure_reading(report, path, name, rounds)
            path = write_session(sample, 10 * MEGABYTE, Path(folder))
            measure_context(report, path, name, rounds)
        measure_facts(report, Path(folder), rounds)
    report.finish(options)


if __name__ == "__main__":
    main()
