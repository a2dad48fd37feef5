"""Every setting, in one frozen object; the only module that reads the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from devflow_core.errors import ConfigurationError

API_KEY_VARIABLES = (
    "OPENROUTER_API_KEYS",
    "OPENROUTER_API_KEY",
    "OPEN_ROUTER_API_KEY",
    "OPENROUTER_SYSTEM_KEY",
)
"""Where server keys are looked for, in this order; the first is a JSON list, used in rotation."""

_PREFIX = "DEVFLOW_"
ENVIRONMENT_ALIASES = {
    "OPENROUTER_API_KEYS": "api_keys",
    "OPENROUTER_BASE_URL": "base_url",
    "OPENROUTER_TIMEOUT_MS": "timeout_ms",
    "OPENROUTER_MAX_RETRIES": "max_retries",
    "OPENROUTER_COST_BUDGET_USD": "cost_budget_usd",
    "OPENROUTER_PREFERRED_MODELS": "preferred_models",
    "APP_URL": "app_url",
    "APP_TITLE": "app_title",
    "CLAUDE_CONFIG_DIR": "claude_dir",
    "HTTPS_PROXY": "proxy_url",
    "XDG_DATA_HOME": "xdg_data_home",
}
"""Well-known variables that set one of ours; a `DEVFLOW_…` name wins over them."""


class Settings(BaseModel):
    """What a person can set. Defaults < `devflow.toml` < environment < command line.

    Every field has the environment name `DEVFLOW_` + its name in capitals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_keys: tuple[SecretStr, ...] = ()
    """OpenRouter keys used in rotation."""
    api_key: SecretStr | None = None
    """The single OpenRouter key, used after the pool."""
    management_key: SecretStr | None = None
    """OpenRouter's key for the account's own books; only `ledger reconcile` uses it."""
    base_url: str = "https://openrouter.ai/api/v1"
    """Where OpenRouter is; `/api/v1` included."""
    timeout_ms: int = Field(default=30_000, gt=0)
    """Connecting and sending; replies have deadlines of their own."""
    max_retries: int = Field(default=3, ge=1, le=10)
    """Attempts of one candidate in all, the first included."""
    retry_wait_factor: float = Field(default=1.0, ge=0, le=100)
    """Stretches or shortens the waits between attempts; Retry-After is obeyed in any case."""
    first_token_timeout_s: float = Field(default=60.0, gt=0)
    """How long a provider may take until its first event."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """The longest silence between two events of a reply; comments are silence."""
    total_timeout_s: float = Field(default=600.0, gt=0)
    """One request in all, retries and fallbacks included."""
    max_concurrency: int = Field(default=256, ge=1)
    """Calls in flight at once."""
    max_queue: int = Field(default=1024, ge=0)
    """Calls that may wait for a place; more are refused at once."""
    requests_per_min: int | None = Field(default=None, ge=1)
    """Of one OpenRouter key; None: learned from OpenRouter's answers."""
    min_gap_s: float = Field(default=0.0, ge=0)
    """The least time between two calls with one key."""
    retry_budget: Literal["adaptive", "strict"] = "adaptive"
    """`strict` holds retries under 10 % of calls at any error rate."""
    proxy_url: str | None = None
    """A proxy for calls to OpenRouter."""
    app_url: str = "https://github.com/devflow/devflow"
    """Sent to OpenRouter as the identity of the application."""
    app_title: str = "DevFlow"
    """Its name."""

    cost_budget_usd: Decimal | None = Field(default=None, ge=0)
    """A monthly limit over everything."""
    allow_unknown_price: bool = False
    """Whether a model without a known price may be asked while a budget applies."""
    budget_time_zone: str = "UTC"
    """An IANA name; days, weeks and months of budgets begin there."""
    budget_alert_at: tuple[float, ...] = (0.8, 1.0)
    """Shares of a budget at which the hook is called."""
    budget_alert_webhook_url: str | None = None
    """Told of thresholds by POST, signed with the secret."""
    budget_alert_webhook_secret: SecretStr | None = None
    budget_alert_command: tuple[str, ...] = ()
    """Run at thresholds, with the alert as JSON on its standard input."""

    preferred_models: tuple[str, ...] = ()
    """Tried first where they are able."""
    cost_priority: float = Field(default=0.5, ge=0, le=1)
    """0..1: how much a saved dollar counts against expected quality."""
    performance_priority: float = Field(default=0.2, ge=0, le=1)
    """0..1: how much a saved second counts against expected quality."""
    fallback_models: tuple[str, ...] = ()
    """Tried after a model that was named, and at the end of every chain."""
    fallbacks: Mapping[str, tuple[str, ...]] = {}
    """By model id or pattern: its own fallbacks."""
    aliases: Mapping[str, str] = {}
    """Names for models; `*` and `?` match as in file names."""
    nodes: Mapping[str, Mapping[str, Any]] = {}
    """Named tasks with the model and weights they use."""
    models: Mapping[str, Mapping[str, Any]] = {}
    """Corrections to the catalogue by model id: prices, windows, quality."""
    baseline_model: str = "anthropic/claude-sonnet-4.5"
    """What savings are counted against."""
    learn_quality: bool = False
    """Whether feedback changes the expected quality."""
    context_tokens: int = Field(default=4_000, ge=0)
    """How much of a session's context is injected at the most."""
    retention_days: int | None = Field(default=None, ge=1)
    """How long ledger rows keep their labels; amounts are kept for ever."""

    data_dir: Path = Path()
    """Ledger, keys, reports; else `$XDG_DATA_HOME/devflow` or `~/.local/share/devflow`."""
    ledger_url: str | None = None
    """`postgresql://…`; None: a SQLite file in the data directory."""
    claude_dir: Path = Path("~/.claude")
    """Claude Code's folder."""
    xdg_data_home: Path | None = None

    host: str = "127.0.0.1"
    """Where the HTTP gateway listens."""
    port: int = Field(default=8420, ge=0, le=65535)
    """Its port; 0 takes a free one."""
    workers: int = Field(default=1, ge=1)
    """Processes that share the port and the ledger."""
    require_key: bool = True
    """Whether the HTTP gateway asks for a client key; only on loopback it may be False."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names besides loopback under which the gateway may be addressed."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Larger requests are refused."""
    max_held_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    """Of all requests being received or answered at once, over all workers; more get 503."""
    cache: bool = True
    """Answer exact repetitions at temperature 0, or on request, from memory."""
    cache_ttl_s: float = Field(default=300.0, gt=0)
    """How long an answer may be repeated."""
    otel_endpoint: str | None = None
    """Where OpenTelemetry traces go, over OTLP; needs the extra `otel`."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Lower events cost under a microsecond."""
    log_format: Literal["console", "json"] = "console"
    """`json` for machines."""

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        **overrides: object,
    ) -> Self:
        """Settings from a file, the environment and the command line.

        Args:
            environ: the environment; None reads the process's own.
            file: a `devflow.toml`; None looks for one in the working directory.
            overrides: from the command line; None values are left out.

        Raises:
            ConfigurationError: a file that cannot be read, a name that is not known, or a value
                that is not allowed; the message names it.
        """
        env = os.environ if environ is None else environ
        values: dict[str, object] = {**_read_file(file), **_read_environment(env)}
        values.update({name: value for name, value in overrides.items() if value is not None})
        home = Path(env.get("HOME", "~")).expanduser()
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(_describe_error(error, values)) from None
        return settings.model_copy(
            update={
                "data_dir": _resolve_data_dir(settings, home),
                "claude_dir": _expand_home(home, settings.claude_dir),
            }
        )

    def server_keys(self) -> tuple[str, ...]:
        """The gateway's own OpenRouter keys: the pool, then the single key, none twice."""
        keys = [*self.api_keys, *([self.api_key] if self.api_key else [])]
        return tuple(dict.fromkeys(key.get_secret_value() for key in keys if key))

    def require_keys(self) -> tuple[str, ...]:
        """The server keys.

        Raises:
            ConfigurationError: there is none.
        """
        keys = self.server_keys()
        if not keys:
            names = ", ".join(API_KEY_VARIABLES)
            raise ConfigurationError(
                f"No OpenRouter key. Set one of {names}; `devflow demo` needs none."
            )
        return keys


def copy_environment() -> Mapping[str, str]:
    """The process's own environment, for a child that needs all of it."""
    return dict(os.environ)


def _read_file(file: Path | None) -> dict[str, object]:
    path = file or Path("devflow.toml")
    if file is None and not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None


def _read_environment(env: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for variable in reversed(API_KEY_VARIABLES[1:]):
        if env.get(variable):
            values["api_key"] = env[variable]
    for variable, name in ENVIRONMENT_ALIASES.items():
        if env.get(variable):
            values[name] = _parse_variable(name, env[variable], variable)
    for name in Settings.model_fields:
        variable = _PREFIX + name.upper()
        if variable in env:
            values[name] = _parse_variable(name, env[variable], variable)
    return values


_LISTS = {name for name, field in Settings.model_fields.items() if "tuple" in str(field.annotation)}
_TABLES = {
    name for name, field in Settings.model_fields.items() if "Mapping" in str(field.annotation)
}


def _parse_variable(name: str, text: str, variable: str) -> object:
    """A variable's text as a value: lists by JSON or commas, tables by JSON, the rest as it is."""
    if name in _LISTS and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if name not in _LISTS | _TABLES:
        return text
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ConfigurationError(f"{variable} is not valid JSON.") from None


def _describe_error(error: ValidationError, values: Mapping[str, object]) -> str:
    """The first wrong setting, its value unless it is a secret, and what is allowed."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"There is no setting named {name!r}. See the reference of settings."
    is_secret = "Secret" in str(Settings.model_fields[name].annotation)
    value = "" if is_secret else f" = {values[name]!r}"
    return f"The setting {name}{value} ({_PREFIX}{name.upper()}) is wrong: {first['msg']}."


def _resolve_data_dir(settings: Settings, home: Path) -> Path:
    if settings.data_dir != Path():
        return _expand_home(home, settings.data_dir)
    return (settings.xdg_data_home or home / ".local" / "share") / "devflow"


def _expand_home(home: Path, path: Path) -> Path:
    """`~` as the given home, which is the one of `environ`."""
    return home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path
