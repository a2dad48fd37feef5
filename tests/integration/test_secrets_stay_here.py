"""Keys go to the provider only: not to programs that are started, nor in the clear, nor shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from devflow_core.errors import ConfigurationError
from devflow_openrouter.service import OpenRouterService
from devflow_sandbox import Sandbox
from integration.doors import Installation

SECRETS = {
    "OPENROUTER_API_KEYS": '["sk-or-v1-CANARYPOOL00001111222233334444"]',
    "OPEN_ROUTER_API_KEY": "sk-or-v1-CANARYALIAS0000111122223333",
    "DEVFLOW_MANAGEMENT_KEY": "CANARYMANAGEMENT",
    "DEVFLOW_BUDGET_ALERT_WEBHOOK_SECRET": "CANARYWEBHOOK",
    "DEVFLOW_CLIENT_KEY": "CANARYCLIENT",
    "DEVFLOW_API_KEY": "sk-or-v1-CANARYOWN000011112222333344",
}
PASSWORD = "CANARYPASSWORD"


@pytest.fixture
def user(tmp_path: Path, openrouter_sandbox: Sandbox) -> Installation:
    """Somebody with every secret in the environment."""
    made = Installation(home=tmp_path / "home", folder=tmp_path / "home" / "work")
    made.environment.update(SECRETS)
    made.environment["DEVFLOW_API_KEY"] = openrouter_sandbox.api_key
    made.environment["OPENROUTER_API_KEYS"] = json.dumps([openrouter_sandbox.api_key])
    made.environment["OPENROUTER_BASE_URL"] = openrouter_sandbox.base_url
    return made


def add_program(user: Installation, name: str, text: str) -> str:
    """A program on the PATH, which is returned."""
    program = user.home / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_claude_code_gets_the_client_key_and_no_other(user: Installation) -> None:
    path = add_program(user, "claude", "env > seen")
    own = {"PATH": path, "EDITOR": "vi", "DEVFLOW_DATA_DIR": str(user.home / "data")}
    assert user.run("claude", environ=own).returncode == 0
    seen = (user.folder / "seen").read_text()
    assert "ANTHROPIC_AUTH_TOKEN=devflow_" in seen
    assert "EDITOR=vi" in seen  # it is the user's own shell otherwise
    assert "DEVFLOW_DATA_DIR=" in seen
    assert "CANARY" not in seen
    assert user.environment["DEVFLOW_API_KEY"] not in seen


def test_an_alert_command_gets_the_alert_and_no_key(user: Installation) -> None:
    seen = user.home / "seen"
    path = add_program(user, "tell", f"env > {seen}; cat >> {seen}")
    own = {
        "PATH": path,
        "OPENROUTER_COST_BUDGET_USD": "10",
        "DEVFLOW_BUDGET_ALERT_AT": "[0.0000000001]",
        "DEVFLOW_BUDGET_ALERT_COMMAND": '["tell"]',
    }
    assert user.run("ask", "hello", environ=own).returncode == 0
    text = seen.read_text()
    assert "budget_threshold" in text
    assert f"HOME={user.home}" in text
    assert "CANARY" not in text
    assert user.environment["DEVFLOW_API_KEY"] not in text


def test_an_alert_command_does_not_depend_on_the_folder(user: Installation) -> None:
    done = user.run("ask", "hi", environ={"DEVFLOW_BUDGET_ALERT_COMMAND": '["./tell"]'})
    assert (done.returncode, "whole path" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEVFLOW_BASE_URL", f"ftp://u:{PASSWORD}@h"),
        ("DEVFLOW_BASE_URL", f"http://u:{PASSWORD}@far.invalid/api/v1"),
        ("DEVFLOW_BASE_URL", f"https://u:{PASSWORD}@[h/api/v1"),
        ("DEVFLOW_PROXY_URL", f"htp//u:{PASSWORD}@h"),
        ("DEVFLOW_PROXY_URL", f"socks9://u:{PASSWORD}@h"),
        ("HTTPS_PROXY", f"http://u:{PASSWORD}@h:port"),
        ("DEVFLOW_LEDGER_URL", f"postgres//u:{PASSWORD}@h/x"),
        ("DEVFLOW_LEDGER_URL", f"mysql://u:{PASSWORD}@h/x"),
        ("DEVFLOW_LEDGER_URL", f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"),
        ("DEVFLOW_LEDGER_URL", f"postgresql://u:{PASSWORD}@127.0.0.1:port/x?a=b=c"),
        ("DEVFLOW_BUDGET_ALERT_WEBHOOK_URL", f"https://u:{PASSWORD}@[h"),
        ("DEVFLOW_BUDGET_ALERT_WEBHOOK_URL", f"http://u:{PASSWORD}@far.invalid/"),
    ],
)
def test_no_message_quotes_a_password(user: Installation, variable: str, value: str) -> None:
    done = user.run("ask", "hello", environ={variable: value})
    assert done.returncode in (1, 3)
    assert done.stderr.startswith("devflow: ")
    assert done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr + done.stdout


def test_traces_go_over_https_or_to_this_machine(user: Installation) -> None:
    far = f"http://u:{PASSWORD}@far.invalid:4318/v1/traces"
    done = user.run("serve", "--port", "0", environ={"DEVFLOW_OTEL_ENDPOINT": far})
    assert (done.returncode, "otel_allow_http" in done.stderr) == (3, True)
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    "url",
    ["http://far.invalid/api/v1", "http://127.0.0.1.far.invalid", "http://127.0.0.1@far.invalid"],
)
def test_no_key_goes_over_http_to_another_machine(user: Installation, url: str) -> None:
    done = user.run("keys", "status", environ={"OPENROUTER_BASE_URL": url})
    assert (done.returncode, "it has to be https" in done.stderr) == (3, True)
    with pytest.raises(ConfigurationError, match="it has to be https"):
        OpenRouterService("sk-or-v1-x", base_url=url)
    done = user.run("doctor", "--url", url)
    assert (done.returncode, "it has to be https" in done.stderr) == (3, True)
