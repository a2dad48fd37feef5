"""Coding agents write a file through the gateway, with their own tools and settings."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from clients.matrix import CLIENT_TIMEOUT_S, FLAG, JOB, JOB_DONE, MODELS, Door, group_folder, node

MODEL = MODELS["openai"]["main"]
SMALL = "openai/gpt-5.1-codex-mini"
"""For titles, where an agent has a model of its own for them."""


@dataclass
class Agent:
    """How a coding agent is started."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])


def codex(door: Door, home: Path) -> Agent:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        f"""
        model = "{MODEL}"
        model_provider = "devflow"
        [model_providers.devflow]
        name = "DevFlow"
        base_url = "{door.url}/v1"
        wire_api = "responses"
        env_key = "DEVFLOW_KEY"
        """
    )
    folder = group_folder("codex") / "node_modules" / "@openai"
    program = next(folder.glob("codex-*/vendor/*/bin/codex"))
    flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
    return Agent([str(program), "exec", *flags, JOB], {"DEVFLOW_KEY": door.keys["good"]})


def _opencode(door: Door, home: Path, package: str) -> Agent:
    usd = {"input": 0.25, "output": 2, "cache_read": 0.025}
    provider = {
        "npm": package,
        "name": "DevFlow",
        "options": {"baseURL": f"{door.url}/v1", "apiKey": door.keys["good"]},
        "models": {MODEL: {"name": "main", "cost": usd}, SMALL: {"name": "small"}},
    }
    settings = {
        "model": f"devflow/{MODEL}",
        "small_model": f"devflow/{SMALL}",
        "provider": {"devflow": provider},
        "autoupdate": False,
        "share": "disabled",
    }
    (home / "work" / "opencode.json").write_text(json.dumps(settings))
    program = next((group_folder("opencode") / "node_modules").glob("opencode-*/bin/opencode"))
    nothing_fetched = {
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    return Agent([str(program), "run", "--format", "json", JOB], nothing_fetched)


def opencode_chat(door: Door, home: Path) -> Agent:
    return _opencode(door, home, "@ai-sdk/openai-compatible")


def opencode_messages(door: Door, home: Path) -> Agent:
    return _opencode(door, home, "@ai-sdk/anthropic")


def opencode_responses(door: Door, home: Path) -> Agent:
    return _opencode(door, home, "@ai-sdk/openai")


def _aider(door: Door, *flags: str) -> Agent:
    offline = ["--no-check-update", "--no-analytics", "--no-show-model-warnings", "--no-git"]
    quiet = ["--no-pretty", "--yes-always", "--map-tokens", "0", "--edit-format", "whole"]
    program = [str(group_folder("aider") / "bin" / "aider"), "--model", f"openai/{MODEL}"]
    environment = {"OPENAI_API_BASE": f"{door.url}/v1", "OPENAI_API_KEY": door.keys["good"]}
    return Agent([*program, *offline, *quiet, *flags, "--message", JOB, "flag.py"], environment)


def aider_stream(door: Door, home: Path) -> Agent:
    return _aider(door)


def aider_whole(door: Door, home: Path) -> Agent:
    return _aider(door, "--no-stream")


def qwen_code(door: Door, home: Path) -> Agent:
    program = group_folder("qwen-code") / "node_modules" / "@qwen-code" / "qwen-code" / "cli.js"
    environment = {
        "OPENAI_BASE_URL": f"{door.url}/v1",
        "OPENAI_API_KEY": door.keys["good"],
        "OPENAI_MODEL": MODEL,
    }
    flags = ["--auth-type", "openai", "-y", "--output-format", "json"]
    return Agent([node(), str(program), *flags, "-p", JOB], environment)


AGENTS: tuple[Callable[[Door, Path], Agent], ...] = (
    codex,
    opencode_chat,
    opencode_messages,
    opencode_responses,
    aider_stream,
    aider_whole,
    qwen_code,
)


def run(agent: Agent, home: Path) -> str:
    done = subprocess.run(
        agent.command,
        cwd=home / "work",
        env={"PATH": os.environ["PATH"], "HOME": str(home), **agent.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("make", AGENTS, ids=lambda make: make.__name__)
def test_a_file_is_written_and_the_end_is_told(
    make: Callable[[Door, Path], Agent], door: Door, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    since = door.count_bill()
    told = run(make(door, tmp_path), tmp_path)
    assert (tmp_path / "work" / "flag.py").read_text() == FLAG
    assert JOB_DONE in told
    bill = door.bill(since)
    assert {call["model"] for call in bill} <= {MODEL, SMALL}
    billed = {call["generation_id"]: Decimal(call["cost_usd"]) for call in bill}
    assert door.ledger(since) == billed
    if "opencode" in make.__name__:  # the only one that is told prices and shows an amount
        lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
        ends = [line["part"]["cost"] for line in lines if line["type"] == "step_finish"]
        costs = [Decimal(call["cost_usd"]) for call in bill if call["model"] == MODEL]
        assert sum(Decimal(str(one)) for one in ends) == sum(costs) > 0
