"""Decides which environment variables other processes get; our own keys are left out."""

from __future__ import annotations

import os
from collections.abc import Mapping

from devflow_core.settings import API_KEY_VARIABLES, CLIENT_KEY_VARIABLE, OWN_PREFIXES, SECRETS

_SAFE_PATH = "PYTHONSAFEPATH"
CHILD_VARIABLES = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""Variables that any program may need."""


def copy_environment() -> Mapping[str, str]:
    """Return this process's environment without DevFlow's secrets, for a program the user works in.

    A variable of DevFlow's own is also left out if its value has an `@`, since an address may hold
    a password. `PYTHONSAFEPATH`, which `shield_children` sets, is left out too.
    """
    secret = {f"DEVFLOW_{name.upper()}" for name in SECRETS}
    secret |= {*API_KEY_VARIABLES, CLIENT_KEY_VARIABLE, _SAFE_PATH}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in secret and not (name.startswith(OWN_PREFIXES) and "@" in value)
    }


def list_variables() -> frozenset[str]:
    """Return the names of all variables of this process."""
    return frozenset(os.environ)


def copy_child_environment() -> Mapping[str, str]:
    """Return those of `CHILD_VARIABLES` that this process has, and nothing else."""
    return {name: os.environ[name] for name in CHILD_VARIABLES if name in os.environ}


def shield_children() -> None:
    """Keep Python processes that are started later from importing from the working directory."""
    os.environ[_SAFE_PATH] = "1"


def replace_environment(environment: Mapping[str, str]) -> None:
    """Replace the whole environment of this process."""
    os.environ.clear()
    os.environ.update(environment)
