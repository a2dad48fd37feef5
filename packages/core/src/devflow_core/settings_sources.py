"""Where settings come from: files in TOML, the user's own folder of them, and variables."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from devflow_core.addresses import hide_user_info
from devflow_core.errors import ConfigurationError
from devflow_core.masking import mask

SETTINGS_FILE = "devflow.toml"
"""The name of a file of settings, in the user's folder and in a working directory."""
MAX_SETTINGS_BYTES = 1024 * 1024
_Table = Mapping[str, object]
Kind = Literal["text", "list", "table"]
"""How a variable's text is read."""


def find_config_dir(environ: Mapping[str, str]) -> Path | None:
    """The user's folder of configuration; None where the environment names no home."""
    own, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if own and Path(own).is_absolute():  # the specification leaves relative ones out
        return Path(own) / "devflow"
    return Path(home) / ".config" / "devflow" if home and Path(home).is_absolute() else None


def find_home(environ: Mapping[str, str]) -> Path:
    """The user's home.

    Raises:
        ConfigurationError: neither the environment nor the system knows one.
    """
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        raise ConfigurationError("This user has no home; set HOME.") from None


def read_settings(path: Path) -> bytes:
    """The bytes of a file of settings.

    Raises:
        ConfigurationError: it cannot be read, or is far too large for one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigurationError("The path of the settings file is none.") from None
    if len(content) > MAX_SETTINGS_BYTES:
        raise ConfigurationError(f"{path} is too large for settings.")
    return content


def parse_settings(path: Path, content: bytes) -> dict[str, object]:
    """The settings in a file's bytes; the path is for messages.

    Raises:
        ConfigurationError: it is no TOML.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply.") from None


def merge_settings(under: _Table, over: _Table) -> dict[str, object]:
    """Settings over settings: tables are merged, so that what one does not name stays."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[name] = merge_settings(cast("_Table", below), cast("_Table", value))
        else:
            merged[name] = value
    return merged


def read_environment(
    environ: Mapping[str, str],
    kinds: Mapping[str, Kind],
    aliases: Iterable[tuple[str, str]],
    prefix: str,
) -> dict[str, object]:
    """The settings that variables make.

    Args:
        environ: the environment.
        kinds: of every setting, how its text is read.
        aliases: variables of other names with the settings they make; a later one wins.
        prefix: of our own names, which win over them.

    Raises:
        ConfigurationError: a variable is no JSON and should be.
    """
    values: dict[str, object] = {}
    for variable, name in aliases:
        if text := environ.get(variable):
            values[name] = _parse_variable(text, variable, kinds[name])
    for name, kind in kinds.items():
        variable = prefix + name.upper()
        if variable in environ:
            values[name] = _parse_variable(environ[variable], variable, kind)
    return values


def _parse_variable(text: str, variable: str, kind: Kind) -> object:
    """A variable's text as a value: lists by JSON or commas, tables by JSON, the rest as it is."""
    if kind == "list" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "text":
        return text
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ConfigurationError(f"{variable} is not valid JSON.") from None


def describe_error(
    error: ValidationError, values: _Table, secrets: Collection[str], prefix: str
) -> str:
    """The first wrong setting, its value without any secret, and what is allowed."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return describe_unknown(name)
    value = values[name]
    shown = hide_user_info(value) if isinstance(value, str) else value
    told = "" if name in secrets else f" = {mask(repr(shown))}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"The setting {name}{told} ({prefix}{name.upper()}) is wrong: {reason}."


def describe_unknown(name: str) -> str:
    """What to say of a name that is none of ours."""
    return f"There is no setting named {name!r}. See the reference of settings."
