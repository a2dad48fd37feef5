"""The environment that other processes get holds no secret of ours."""

import os

import pytest
from devflow_core.environment import (
    copy_child_environment,
    copy_environment,
    replace_environment,
    shield_children,
)

PLAIN = {
    "PATH": "/bin",
    "HOME": "/home/ann",
    "DEVFLOW_UPSTREAM_URL": "https://h/api",
    "GIT_REMOTE": "https://ann:pw@h",
}
OURS = {
    "DEVFLOW_CLIENT_KEY": "k",
    "DEVFLOW_API_KEYS": '["k"]',
    "OPENROUTER_API_KEY": "k",
    "OPENROUTER_BASE_URL": "https://ann:pw@h",
    "PYTHONSAFEPATH": "1",
}


def _fill_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Replace the process's environment until the test ends, and return the new one."""
    variables = {**PLAIN, **OURS}
    monkeypatch.setattr(os, "environ", variables)
    return variables


def test_a_users_program_gets_all_but_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_environment(monkeypatch)
    assert copy_environment() == PLAIN


def test_any_other_program_gets_what_it_needs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_environment(monkeypatch)
    assert copy_child_environment() == {"PATH": "/bin", "HOME": "/home/ann"}


def test_children_do_not_import_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _fill_environment(monkeypatch)
    del environment["PYTHONSAFEPATH"]
    shield_children()
    assert environment == {**PLAIN, **OURS}


def test_nothing_is_left_in_an_environment_that_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = _fill_environment(monkeypatch)
    replace_environment({"HOME": "/", "NEW": "x"})
    assert environment == {"HOME": "/", "NEW": "x"}
