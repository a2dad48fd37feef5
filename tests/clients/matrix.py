"""One gateway as its users start it, over a stand-in that plays a script, for clients to ask."""

import json
import os
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clients.pinned import BYTECODE, CLIENTS, command_of
from devflow_core.ledger import Attempt
from devflow_sandbox.replies.picture import encode_picture
from devflow_sandbox.threaded import ThreadedSandbox
from integration.living import entries_of
from integration.served import Served, serve, upstream_of

CLIENT_TIMEOUT_S = 240
"""A start takes a second; the first one of a Python that compiles, on a busy machine, minutes."""
LOOK_S = 0.05
MAX_LOOKS = 2_000
PROGRAMS = Path(__file__).parent / "programs"
TEXT = 'Grüße aus Köln – 你好, “quoted” 🙂\n\nSecond paragraph: {"a": [1, 2]}'
LONG = " ".join(f"word{number}" for number in range(400))
CALLS: list[list[Any]] = [
    ["get_weather", {"city": 'Köln 🌧 "Süd"'}],
    ["get_time", {}],
    ["get_weather", {"city": "東京"}],
]
AFTER_TOOLS = "Rain in Köln and in 東京, at noon."
PROMPTS = {
    "text": "SCENARIO-TEXT: greet me.",
    "image": "SCENARIO-IMAGE: what is in this picture?",
    "tools": "SCENARIO-TOOLS: how is the weather?",
    "leave": "SCENARIO-LEAVE: tell a long story.",
}
SEEN = "A square of one colour."
JOB = "CODING-JOB: add a flag to flag.py"
JOB_DONE = "The flag is in."
FLAG = "FLAG = 1\n"
PAIR = "CODING-PAIR: write two files"
PAIR_DONE = "Both files are in."
SHELLS = {"bash": "command", "run_shell_command": "command", "exec_command": "cmd"}
"""The tool with which each coding agent runs commands, and the argument that holds the command."""
SHELL_ARGUMENTS = {"bash": {"description": "write"}, "run_shell_command": {"is_background": False}}
MODELS = {
    "openai": {
        "main": "openai/gpt-5-mini",
        "busy": "openai/gpt-5-nano",
        "down": "openai/gpt-5.4-nano",
        "cut": "openai/gpt-5.4-mini",
        "slow": "openai/gpt-4o-mini",
    },
    "anthropic": {
        "main": "anthropic/claude-haiku-4.5",
        "busy": "anthropic/claude-opus-4.1",
        "down": "anthropic/claude-sonnet-4.6",
        "cut": "anthropic/claude-opus-4.5",
        "slow": "anthropic/claude-sonnet-4.5",
    },
}
"""Of each maker one model that answers, and one for each way to fail."""
FAULTS = {
    "busy": {"kind": "status", "status": 429, "reset_s": 7200},
    "down": {"kind": "status", "status": 503, "retry_after": "0"},
    "cut": {"kind": "error_event", "at": {"share": 0.5}},
    "slow": {"kind": "slow", "gap_s": 0.1},
}
"""Agents that repeat a 503, whatever they are told, do it at once if no wait is named."""


def _script() -> dict[str, Any]:
    tool_calls = [{"name": name, "arguments": arguments} for name, arguments in CALLS]
    turns: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"contains": PROMPTS["tools"], "after_tool": True}, {"text": AFTER_TOOLS}),
        ({"contains": PROMPTS["tools"]}, {"tool_calls": tool_calls}),
        ({"contains": PROMPTS["text"]}, {"text": TEXT}),
        ({"contains": PROMPTS["image"], "has_media": True}, {"text": SEEN}),
        ({"contains": PROMPTS["leave"]}, {"text": LONG}),
    ]
    turns += _job_turns()
    return {"turns": [{"when": when, "reply": reply, "repeat": True} for when, reply in turns]}


def _job_turns() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Shell commands, and after their results the end; without a shell the file is in the reply."""
    for tool, argument in SHELLS.items():
        calls = [
            {
                "name": tool,
                "arguments": {argument: f"printf '{FLAG.strip()}\\n' > {file}"}
                | SHELL_ARGUMENTS.get(tool, {}),
            }
            for file in ("flag.py", "second.py")
        ]
        for job, done, many in ((JOB, JOB_DONE, 1), (PAIR, PAIR_DONE, 2)):
            asked = {"text": "First the file.", "tool_calls": calls[:many]}
            yield {"contains": job, "tool": tool, "after_tool": True}, {"text": done}
            yield {"contains": job, "tool": tool}, asked
    whole = f"{JOB_DONE}\n\nflag.py\n```python\n{FLAG}```\n"
    yield {"contains": JOB, "has_tools": False}, {"text": whole}


def _faults() -> dict[str, Any]:
    return {
        "faults": [
            {"when": {"model": models[name]}, "then": fault}
            for models in MODELS.values()
            for name, fault in FAULTS.items()
        ]
    }


@dataclass
class Door:
    """A gateway that serves, the stand-in behind it, and client keys of several rights."""

    served: Served
    sandbox: ThreadedSandbox
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.port}"

    def count_bill(self) -> int:
        """How many calls the bill holds by now."""
        return len(self.sandbox.bill()["calls"])

    def bill(self, since: int, until: int | None = None) -> list[dict[str, Any]]:
        """What calls have cost, the oldest first, once none runs; only those that were answered."""
        for _ in range(MAX_LOOKS):
            calls = self.sandbox.bill()["calls"][since:until]
            if all(call["outcome"] != "running" for call in calls):
                return [call for call in calls if call["generation_id"]]
            time.sleep(LOOK_S)
        pytest.fail("a call that no client waits for runs on")

    def ledger(self, since: int, until: int | None = None) -> dict[str, Decimal]:
        """What the ledger says that these calls have cost, by the provider's id, all confirmed."""
        wanted = {call["generation_id"] for call in self.bill(since, until)}
        open_ones: list[Attempt] = []
        for _ in range(MAX_LOOKS):
            attempts = [
                attempt
                for entry in entries_of(self.served.home)
                for attempt in entry.attempts
                if attempt.generation_id in wanted
            ]
            open_ones = [one for one in attempts if one.cost_status == "estimated"]
            if len(attempts) == len(wanted) and not open_ones:
                return {str(one.generation_id): one.cost_usd for one in attempts}
            if open_ones:  # the server itself asks once a minute
                command = ("ledger", "reconcile", "--days", "0", "--patience-s", "1")
                self.served.devflow(*command, **upstream_of(self.sandbox))
            time.sleep(LOOK_S)
        pytest.fail(f"the ledger does not come to hold what was billed: {open_ones or wanted}")


@contextmanager
def open_door(home: Path) -> Generator[Door]:
    """Start both; they end with the block."""
    with (
        ThreadedSandbox(script=_script(), faults=_faults(), generation_delay_s=0.0) as sandbox,
        serve(home, DEVFLOW_RETRY_WAIT_FACTOR="0", **upstream_of(sandbox)) as served,
    ):
        keys = {
            "good": str(served.first_key),
            "wrong": "devflow_sk_of_nobody",
            "poor": served.make_key("poor"),
            "limited": served.make_key("limited"),
            "narrow": served.make_key("narrow", "--model", "z-ai/*"),
        }
        for name, usd in (("poor", "0.000000001"), ("limited", "100")):
            budget = ("--scope", "key", "--value", name, "--limit", usd)
            assert served.devflow("budget", "set", *budget).status == 0
        yield Door(served, sandbox, keys)


def specification(door: Door, maker: str) -> str:
    """What a program of `programs/` reads on its stdin."""
    models = MODELS[maker]
    return json.dumps(
        {
            "url": door.url,
            "keys": door.keys,
            "models": models,
            "prompts": PROMPTS,
            "image": encode_picture("red"),
            "errors": {
                "unauthorized": ("wrong", models["main"]),
                "over_budget": ("poor", models["main"]),
                "forbidden": ("narrow", models["main"]),
                "unknown_model": ("good", f"{maker}/no-such-model"),
                "rate_limited": ("good", models["busy"]),
                "down": ("good", models["down"]),
            },
        }
    )


def group_folder(group: str) -> Path:
    """The folder of an installed group; without it a test fails in CI and is skipped elsewhere."""
    folder = CLIENTS / group
    if not folder.is_dir():
        words = f"{group} is not in {CLIENTS}: run `make clients` with npm at hand"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return folder


def installed_command(group: str) -> list[str]:
    """The words that start the program of a group, as far as it is installed."""
    group_folder(group)
    return command_of(group)


def play(program: str, given: str, folder: Path) -> dict[str, Any]:
    """Run a program of `programs/` to its end; return the results that it writes."""
    source = PROGRAMS / program
    if source.suffix == ".py":
        command = [str(group_folder("python-sdks") / "bin" / "python"), str(source)]
    else:
        for one in PROGRAMS.glob("*.mjs"):  # packages are looked for beside a module
            (folder / one.name).write_bytes(one.read_bytes())
        (folder / "node_modules").symlink_to(group_folder("typescript-sdks") / "node_modules")
        command = [*installed_command("node"), str(folder / program)]
    done = subprocess.run(
        command,
        input=given,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPYCACHEPREFIX": str(BYTECODE)},
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout)
