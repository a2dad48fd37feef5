"""Finds environment variables that look like settings of ours, and are none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from devflow_core.close_names import find_close_names
from devflow_core.settings import (
    API_KEY_VARIABLES,
    CLIENT_KEY_VARIABLE,
    ENVIRONMENT_ALIASES,
    OWN_PREFIXES,
    Settings,
)

_OWN, _PROVIDERS = OWN_PREFIXES
_MIN_LIKENESS = 0.8
"""For variables of the provider's prefix, which any program may define: no guess but a sure one."""
# what Kubernetes and Docker set for a service whose name begins with `devflow`
_SERVICE_LINK = re.compile(
    r"\w+_(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownVariable:
    """A variable that begins like ours, and that no setting is read from."""

    name: str
    close: tuple[str, ...]
    """The variables that may have been meant, the closest first."""

    def __str__(self) -> str:
        return f"{self.name} (is {' or '.join(self.close)} meant?)" if self.close else self.name


def find_unknown_variables(names: Iterable[str]) -> list[UnknownVariable]:
    """Return the variables that are set and have no effect although they look like ours, by name.

    Of those that begin with `DEVFLOW_`, all are returned but what an orchestrator sets for a
    service of this name. Others that begin like the provider's are any program's: only those that
    nearly spell a variable of ours are returned.
    """
    own = {name.upper(): f"{_OWN}{name.upper()}" for name in Settings.model_fields}
    own[CLIENT_KEY_VARIABLE.removeprefix(_OWN)] = CLIENT_KEY_VARIABLE
    aliases = {
        name.removeprefix(_PROVIDERS): name
        for name in (*API_KEY_VARIABLES, *ENVIRONMENT_ALIASES)
        if name.startswith(_PROVIDERS)
    }
    own |= {name: name for name in aliases.values()}
    found: list[UnknownVariable] = []
    for name in sorted(names):
        if name in own.values() or name in aliases.values():
            continue
        spelling = name.upper()
        if spelling.startswith(_OWN) and not _SERVICE_LINK.fullmatch(name):
            close = find_close_names(spelling.removeprefix(_OWN), own)
            found.append(UnknownVariable(name=name, close=tuple(own[one] for one in close)))
        elif spelling.startswith(_PROVIDERS):
            close = find_close_names(spelling.removeprefix(_PROVIDERS), aliases, _MIN_LIKENESS)
            if close:
                found.append(UnknownVariable(name=name, close=tuple(aliases[one] for one in close)))
    return found
