"""Reads settings from their sources: TOML files, the user's configuration folder, and variables."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from devflow_core.addresses import hide_user_info
from devflow_core.close_names import offer_close_names
from devflow_core.errors import ConfigurationError
from devflow_core.masking import mask

SETTINGS_FILE = "devflow.toml"
"""The name of a settings file, in the user's configuration folder and in a working directory."""
SANDBOX_FOLDER = "sandbox"
"""The folder in the data folder that holds the calls to stand-ins, apart from real ones."""
MAX_SETTINGS_BYTES = 1024 * 1024
"""The size limit of a settings file."""
_Table = Mapping[str, object]
Kind = Literal["text", "list", "table"]
"""The form of a variable's text: used unchanged, a list (JSON or commas), or JSON."""


def find_config_dir(environ: Mapping[str, str]) -> Path | None:
    """Return the user's configuration folder; None if the environment names no home."""
    own, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if own and Path(own).is_absolute():  # the XDG specification ignores relative paths
        return Path(own) / "devflow"
    return Path(home) / ".config" / "devflow" if home and Path(home).is_absolute() else None


def find_home(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder.

    Raises:
        ConfigurationError: neither the environment nor the system knows it.
    """
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        raise ConfigurationError("This user has no home; set HOME.") from None


def expand_home(home: Path, path: Path) -> Path:
    """Return a path with a leading `~` replaced by the given home folder."""
    return home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path


def find_kind(annotation: str) -> Kind:
    """Return how the environment writes a setting whose type is annotated like this."""
    if "Mapping" in annotation:
        return "table"
    return "list" if "tuple" in annotation else "text"


def read_settings(path: Path) -> bytes:
    """Return the bytes of a settings file.

    Raises:
        ConfigurationError: it cannot be read, or is larger than `MAX_SETTINGS_BYTES`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigurationError("The path of the settings file is not valid.") from None
    if len(content) > MAX_SETTINGS_BYTES:
        raise ConfigurationError(f"{path} is too large for settings.")
    return content


def parse_settings(path: Path, content: bytes) -> dict[str, object]:
    """Parse the bytes of a settings file; the path is used in messages only.

    Raises:
        ConfigurationError: the file is not valid TOML.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply.") from None


def merge_settings(under: _Table, over: _Table) -> dict[str, object]:
    """Return `under` overlaid with the values of `over`; tables are merged key by key."""
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
    """Read the settings that environment variables define.

    Args:
        environ: the environment.
        kinds: how the text of each setting is parsed.
        aliases: variables with other names and the settings they define; a later one wins, and an
            empty one is ignored.
        prefix: the prefix of our own variables, which win over aliases.

    Raises:
        ConfigurationError: a variable that has to be JSON is not.
    """
    values: dict[str, object] = {}
    for variable, name in aliases:
        if text := environ.get(variable):
            values[name] = _parse_variable(text, variable, kinds[name])
    for name, kind in kinds.items():
        variable = prefix + name.upper()
        if variable in environ and not is_service_link(variable, environ[variable]):
            values[name] = _parse_variable(environ[variable], variable, kind)
    return values


def is_service_link(variable: str, text: str) -> bool:
    """Return whether a variable is the address of a container's neighbour, not a port's number.

    Kubernetes and Docker set `DEVFLOW_PORT=tcp://10.0.0.1:8420` for a service named `devflow`.
    """
    return variable.endswith("_PORT") and text.startswith(("tcp://", "udp://", "sctp://"))


def _parse_variable(text: str, variable: str, kind: Kind) -> object:
    """Parse a variable: lists as JSON or by commas, tables as JSON, and the rest as text.

    Raises:
        ConfigurationError: it is not valid JSON.
    """
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
    error: ValidationError,
    values: _Table,
    secrets: Collection[str],
    prefix: str,
    known: Iterable[str],
) -> str:
    """Describe the first invalid setting: its value without secrets, and what is allowed."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return describe_unknown(name, known)
    value = values[name]
    shown = hide_user_info(value) if isinstance(value, str) else value
    given = "" if name in secrets else f" = {mask(repr(shown))}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"The setting {name}{given} ({prefix}{name.upper()}) is wrong: {reason}."


def describe_unknown(name: str, known: Iterable[str]) -> str:
    """Return the message about a name that is none of the known settings."""
    close = offer_close_names(name, known)
    return f"There is no setting named {name!r}.{close} See the reference of settings."
