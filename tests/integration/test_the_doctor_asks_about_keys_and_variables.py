"""`devflow doctor` asks the provider about each key, and names variables that nothing reads."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_cli.testing import CommandResult, run_command
from devflow_core.unknown_variables import find_unknown_variables
from devflow_sandbox.threaded import ThreadedSandbox

Findings = dict[str, list[dict[str, Any]]]
Doctor = Callable[..., CommandResult]


@pytest.fixture
def doctor(tmp_path: Path, openrouter_sandbox: ThreadedSandbox) -> Doctor:
    """Runs `devflow doctor --json` in an empty home, with the stand-in as the provider."""

    def run(*options: str, **variables: str) -> CommandResult:
        environment = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "OPENROUTER_BASE_URL": openrouter_sandbox.base_url,
            **variables,
        }
        return run_command("doctor", *options, "--json", folder=tmp_path, environment=environment)

    return run


def findings(done: CommandResult, name: str) -> list[tuple[str, str]]:
    return [
        (one["severity"], one["detail"]) for one in done.document["findings"] if one["name"] == name
    ]


def test_each_key_is_asked_about(doctor: Doctor, openrouter_sandbox: ThreadedSandbox) -> None:
    right, wrong = openrouter_sandbox.api_key, "sk-or-v1-mistyped"
    done = doctor(OPENROUTER_API_KEYS=f"{right},{wrong}")
    known, refused = findings(done, "keys")
    assert (done.status, known[0], refused[0]) == (1, "ok", "failed")
    assert "does not know" in refused[1]
    assert wrong not in done.out
    # asking is free
    assert openrouter_sandbox.bill()["calls"] == []
    assert doctor(OPENROUTER_API_KEY=right).status == 0


def test_a_key_for_management_is_none_for_models(
    doctor: Doctor, openrouter_sandbox: ThreadedSandbox
) -> None:
    done = doctor(OPENROUTER_API_KEY=openrouter_sandbox.management_key)
    ((severity, detail),) = findings(done, "keys")
    assert (done.status, severity) == (1, "failed")
    assert "management_key" in detail


def test_a_provider_that_does_not_answer_is_named(doctor: Doctor) -> None:
    nowhere = {"OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1", "OPENROUTER_API_KEY": "sk-or-x"}
    done = doctor(**nowhere)
    assert done.status == 1
    assert "127.0.0.1" in findings(done, "keys")[0][1]
    assert doctor("--offline", **nowhere).status == 0


def test_a_mistyped_variable_is_named_with_the_right_one(doctor: Doctor) -> None:
    done = doctor("--offline", OPENROUTER_API_KEY="sk-or-x", DEVFLOW_COST_BUDGET="CANARY")
    ((severity, detail),) = findings(done, "environment")
    assert (done.status, severity) == (0, "warning")
    assert "DEVFLOW_COST_BUDGET_USD" in detail
    assert "CANARY" not in done.out


def test_serving_begins_with_a_line_about_variables(tmp_path: Path) -> None:
    # without a key it ends at once
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "DEVFLOW_PROT": "80"}
    done = run_command("serve", folder=tmp_path, environment=environment)
    assert done.status == 3
    assert "no setting is read from DEVFLOW_PROT (is DEVFLOW_PORT meant?)" in done.err


@pytest.mark.parametrize(
    "name",
    [
        "DEVFLOW_SERVICE_HOST",
        "DEVFLOW_SERVICE_PORT_HTTP",
        "DEVFLOW_PORT_8420_TCP_ADDR",
        "DEVFLOW_GATEWAY_PORT",
        "DEVFLOW_CLIENT_KEY",
        "DEVFLOW_PORT",
        "OPENROUTER_MODEL",
        "OPENROUTER_API_KEY",
        "PATH",
    ],
)
def test_what_orchestrators_and_other_programs_set_is_not_named(name: str) -> None:
    assert find_unknown_variables([name]) == []


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("DEVFLOW_PREFERED_MODELS", "DEVFLOW_PREFERRED_MODELS"),
        ("devflow_port", "DEVFLOW_PORT"),
        ("DEVFLOW_OPENROUTER_API_KEY", "OPENROUTER_API_KEY"),
        ("OPENROUTER_TIMEOUT", "OPENROUTER_TIMEOUT_MS"),
    ],
)
def test_the_close_variable_comes_first(name: str, close: str) -> None:
    (found,) = find_unknown_variables([name])
    assert (found.name, found.close[0]) == (name, close)


def test_a_variable_that_resembles_none_is_named_alone() -> None:
    (found,) = find_unknown_variables(["DEVFLOW_XYZZY"])
    assert str(found) == "DEVFLOW_XYZZY"


def test_a_neighbours_address_is_not_a_port(doctor: Doctor) -> None:
    done = doctor("--offline", OPENROUTER_API_KEY="sk-or-x", DEVFLOW_PORT="tcp://10.0.0.1:8420")
    assert done.status == 0
    assert findings(done, "environment") == []
