"""Coding agents as their users start them: their own settings, tools and one prompt."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from clients.matrix import MODELS, Door, installed_command

SMALL = "openai/gpt-5.1-codex-mini"
"""For titles, where an agent has a model of its own for them."""
USD = {"input": 0.25, "output": 2, "cache_read": 0.025}
"""What the main model costs per million tokens, for an agent that is told prices."""


@dataclass(frozen=True)
class Wish:
    """What an agent is asked for, of which model and with which key of the door."""

    prompt: str
    model: str = MODELS["openai"]["main"]
    key: str = "good"
    image: Path | None = None
    is_resumed: bool = False
    """Whether the last session of the home goes on; not every agent can."""


@dataclass
class Agent:
    """How a coding agent is started."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def start(self, home: Path) -> subprocess.Popen[str]:
        """Start it in the folder `work` of a home of its own; the caller waits for its end."""
        return subprocess.Popen(
            self.command,
            cwd=home / "work",
            env={"PATH": os.environ["PATH"], "HOME": str(home), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


MakeAgent = Callable[[Door, Path, Wish], Agent]


def codex(door: Door, home: Path, wish: Wish) -> Agent:
    (home / ".codex").mkdir(exist_ok=True)
    (home / ".codex" / "config.toml").write_text(
        f"""
        model = "{wish.model}"
        model_provider = "devflow"
        [model_providers.devflow]
        name = "DevFlow"
        base_url = "{door.url}/v1"
        wire_api = "responses"
        env_key = "DEVFLOW_KEY"
        request_max_retries = 0
        stream_max_retries = 0
        """
    )
    flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
    if wish.image:
        flags += ["--image", str(wish.image), "--"]
    resumed = ["resume", "--last"] if wish.is_resumed else []
    return Agent(
        [*installed_command("codex"), "exec", *resumed, *flags, wish.prompt],
        {"DEVFLOW_KEY": door.keys[wish.key]},
    )


def _opencode(door: Door, home: Path, wish: Wish, package: str) -> Agent:
    main = {
        "name": "main",
        "cost": USD,
        "attachment": True,
        "modalities": {"input": ["text", "image"], "output": ["text"]},
    }
    provider = {
        "npm": package,
        "name": "DevFlow",
        "options": {"baseURL": f"{door.url}/v1", "apiKey": door.keys[wish.key]},
        "models": {wish.model: main, SMALL: {"name": "small"}},
    }
    settings = {
        "model": f"devflow/{wish.model}",
        "small_model": f"devflow/{SMALL}",
        "provider": {"devflow": provider},
        "autoupdate": False,
        "share": "disabled",
    }
    (home / "work" / "opencode.json").write_text(json.dumps(settings))
    nothing_fetched = {
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    flags = ["--file", str(wish.image)] if wish.image else []
    flags += ["--continue"] if wish.is_resumed else []
    command = [*installed_command("opencode"), "run", "--format", "json", *flags, "--", wish.prompt]
    return Agent(command, nothing_fetched)


def opencode_chat(door: Door, home: Path, wish: Wish) -> Agent:
    return _opencode(door, home, wish, "@ai-sdk/openai-compatible")


def opencode_messages(door: Door, home: Path, wish: Wish) -> Agent:
    return _opencode(door, home, wish, "@ai-sdk/anthropic")


def opencode_responses(door: Door, home: Path, wish: Wish) -> Agent:
    return _opencode(door, home, wish, "@ai-sdk/openai")


def _aider(door: Door, home: Path, wish: Wish, *flags: str) -> Agent:
    known = {"litellm_provider": "openai", "mode": "chat", "supports_vision": True}
    metadata = home / "work" / ".aider.model.metadata.json"  # it sends no image to other models
    metadata.write_text(json.dumps({f"openai/{wish.model}": known}))
    offline = ["--no-check-update", "--no-analytics", "--no-show-model-warnings", "--no-git"]
    quiet = ["--no-pretty", "--yes-always", "--map-tokens", "0", "--edit-format", "whole"]
    program = [*installed_command("aider"), "--model", f"openai/{wish.model}"]
    environment = {"OPENAI_API_BASE": f"{door.url}/v1", "OPENAI_API_KEY": door.keys[wish.key]}
    files = [str(wish.image)] if wish.image else ["flag.py"]
    asked = ["--message", wish.prompt, *files]
    return Agent([*program, *offline, *quiet, *flags, *asked], environment)


def aider_stream(door: Door, home: Path, wish: Wish) -> Agent:
    return _aider(door, home, wish)


def aider_whole(door: Door, home: Path, wish: Wish) -> Agent:
    return _aider(door, home, wish, "--no-stream")


def qwen_code(door: Door, home: Path, wish: Wish) -> Agent:
    environment = {
        "OPENAI_BASE_URL": f"{door.url}/v1",
        "OPENAI_API_KEY": door.keys[wish.key],
        "OPENAI_MODEL": wish.model,
    }
    flags = ["--auth-type", "openai", "-y", "--output-format", "json"]
    prompt = f"{wish.prompt} @{wish.image.name}" if wish.image else wish.prompt
    return Agent([*installed_command("qwen-code"), *flags, "-p", prompt], environment)


AGENTS: tuple[MakeAgent, ...] = (
    codex,
    opencode_chat,
    opencode_messages,
    opencode_responses,
    aider_stream,
    aider_whole,
    qwen_code,
)
