"""Holds every setting in one frozen object, read from files and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)

from devflow_core.addresses import (
    LOOPBACK_UPSTREAM,
    check_address,
    check_confidential_address,
    check_ledger_url,
    name_upstream,
    passwords_in,
)
from devflow_core.choice_settings import ChoiceSettings
from devflow_core.errors import ConfigurationError
from devflow_core.folder_trust import (
    FolderQuestion,
    FolderSettings,
    Judge,
    Taste,
    TrustedFolders,
    warn_of_folder,
)
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.provider_settings import ProviderSettings, unique_keys
from devflow_core.settings_sources import (
    SANDBOX_FOLDER,
    SETTINGS_FILE,
    Kind,
    describe_error,
    describe_unknown,
    expand_home,
    find_config_dir,
    find_home,
    find_kind,
    merge_settings,
    parse_settings,
    read_environment,
    read_settings,
)
from devflow_core.stored_key import read_stored_key

API_KEY_VARIABLES = (
    "OPENROUTER_API_KEYS",
    "OPENROUTER_API_KEY",
    "OPEN_ROUTER_API_KEY",
    "OPENROUTER_SYSTEM_KEY",
)
"""The variable of the list of keys, then those of the single key, of which the first set counts."""

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
"""Well-known variables that set one of our settings; a `DEVFLOW_…` variable wins over them."""
CLIENT_KEY_VARIABLE = "DEVFLOW_CLIENT_KEY"
"""The variable that holds a client key for `devflow doctor --url`."""
OWN_PREFIXES = (_PREFIX, "OPENROUTER_")
"""Prefixes of the variables that are ours."""
_SettingsT = TypeVar("_SettingsT", bound="Settings")


class Settings(ChoiceSettings):
    """Everything that a user can set.

    Defaults < the user's `devflow.toml` < that of the working directory < environment < command
    line. The environment variable of a field is `DEVFLOW_` + its name in capitals. The file of the
    working directory may set what is marked as `Taste`; the rest only if the user trusts it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_keys: tuple[SecretStr, ...] = ()
    """OpenRouter keys that are used in rotation."""
    api_key: SecretStr | None = None
    """The single OpenRouter key, used after the pool."""
    management_key: SecretStr | None = None
    """OpenRouter's key for the account's own statements, by which costs are reconciled."""
    base_url: Annotated[str, AfterValidator(check_confidential_address)] = (
        "https://openrouter.ai/api/v1"
    )
    """OpenRouter's address, including `/api/v1`: https, or http to this machine."""
    providers: Mapping[str, ProviderSettings] = {}
    """Other providers by name: `api_key` or `api_keys`, and `base_url` if not the usual one."""
    timeout_ms: int = Field(default=30_000, gt=0)
    """Milliseconds for connecting (at most 5,000) and for calls that do not stream a reply."""
    max_retries: int = Field(default=3, ge=1, le=10)
    """Attempts of one request in total, including the first; refusals do not count."""
    retry_wait_factor: float = Field(default=1.0, ge=0, le=100)
    """Scales the waits between attempts; Retry-After is respected in any case."""
    first_token_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a provider may take until its first event."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """The longest silence between two events of a reply; comments count as silence."""
    total_timeout_s: float = Field(default=600.0, gt=0)
    """The time for one request in total, including retries and fallbacks."""
    max_concurrency: int = Field(default=256, ge=1)
    """The most calls that are in flight at once."""
    max_queue: int = Field(default=1024, ge=0)
    """The most calls that may wait for a slot; more are refused at once."""
    requests_per_min: int | None = Field(default=None, ge=1)
    """Requests per minute with one key; None: learned from the provider's answers."""
    min_gap_s: float = Field(default=0.0, ge=0)
    """The least time between two calls with one key."""
    retry_budget: Literal["adaptive", "strict"] = "adaptive"
    """`strict` keeps retries under 10 % of calls at any error rate."""
    proxy_url: Annotated[str, AfterValidator(check_address)] | None = None
    """A proxy for calls to providers; `http://` or `https://`."""
    app_url: str = "https://github.com/devflow/devflow"
    """The application's address, sent to OpenRouter to identify it."""
    app_title: str = "DevFlow"
    """The application's name, sent to OpenRouter."""

    cost_budget_usd: Annotated[Decimal | None, Taste(is_ceiling=True)] = Field(default=None, ge=0)
    """A monthly limit on all spending; of a folder's and the user's, the lower one applies."""
    allow_unknown_price: bool = False
    """Whether a model without a known price may be asked while a budget applies."""
    budget_time_zone: str = "UTC"
    """An IANA time zone, in which days, weeks and months of budgets begin."""
    budget_alert_at: tuple[float, ...] = (0.8, 1.0)
    """Shares of a budget at which alerts are sent."""
    budget_alert_webhook_url: str | None = None
    """An https address to which alerts of budgets and impossible costs are posted, signed."""
    budget_alert_webhook_secret: SecretStr | None = None
    """The secret that alerts are signed with; the webhook requires it."""
    budget_alert_command: tuple[str, ...] = ()
    """A command that gets the same alerts as JSON on its standard input, and no keys."""

    context_tokens: int = Field(default=4_000, ge=0)
    """The most tokens of a session's context that are injected."""
    retention_days: int | None = Field(default=None, ge=1)
    """Days for which ledger rows keep their labels; amounts are kept forever. None: no limit."""

    data_dir: Path = Path()
    """The folder of DevFlow's files; else `$XDG_DATA_HOME/devflow` or `~/.local/share/devflow`,
    and `sandbox` in it while `base_url` is on this machine."""
    ledger_url: Annotated[str, AfterValidator(check_ledger_url)] | None = None
    """The ledger's `sqlite:///…` or `postgresql://…`; None: a SQLite file in the data directory."""
    claude_dir: Path = Path("~/.claude")
    """Claude Code's folder."""
    xdg_data_home: Path | None = None

    host: str = "127.0.0.1"
    """The address on which the HTTP gateway listens."""
    port: int = Field(default=8420, ge=0, le=65535)
    """The port of the HTTP gateway; 0: a free one."""
    workers: int = Field(default=1, ge=1)
    """The number of processes that share the port and the ledger."""
    drain_timeout_s: float = Field(default=28.0, ge=0)
    """Seconds that replies in progress may take once the gateway is asked to end."""
    require_key: bool = True
    """Whether the HTTP gateway requires a client key; it may be False only on loopback."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names besides loopback that requests may address the gateway by."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """The largest body of a request; a larger one is refused."""
    max_held_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    """The most bytes of current requests over all workers (3 bodies each at least); then 503."""
    cache: bool = True
    """Whether exact repetitions at temperature 0, or on request, are answered from memory."""
    cache_ttl_s: float = Field(default=300.0, gt=0)
    """Seconds for which an answer may be repeated."""
    otel_endpoint: str | None = None
    """The address for OpenTelemetry traces (OTLP, extra `otel`): https, or http to this machine."""
    otel_allow_http: bool = False
    """Whether traces, with names of models and projects, may leave this machine over http."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """The lowest level that is logged; lower events cost under a microsecond."""
    log_format: Literal["console", "json"] = "console"
    """The format of logs; `json` is for machines."""

    _is_limited_by_folder: bool = PrivateAttr(default=False)
    _config_dir: Path | None = PrivateAttr(default=None)

    @property
    def is_limited_by_folder(self) -> bool:
        """Whether `cost_budget_usd` comes from a folder that is not trusted."""
        return self._is_limited_by_folder

    @property
    def upstream(self) -> str:
        """The name of `base_url`, as a ledger notes it; see `name_upstream`."""
        return name_upstream(self.base_url, type(self).model_fields["base_url"].default)

    def model_post_init(self, _context: object, /) -> None:
        """Register every secret with `KNOWN_SECRETS`: from now on `mask` hides it in any text."""
        KNOWN_SECRETS.remember(self._secrets())

    def _secrets(self) -> Iterator[str]:
        """Yield keys and passwords, including those inside addresses."""
        for provider in self.providers.values():
            yield from provider.secrets()
        for name in type(self).model_fields:
            value: object = getattr(self, name)
            for one in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
                if isinstance(one, SecretStr):
                    yield one.get_secret_value()
                elif isinstance(one, str) and "@" in one:
                    yield from passwords_in(one)

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        *,
        judge_folder: Judge | None = warn_of_folder,
        **overrides: object,
    ) -> Self:
        """Read the settings from files, the environment and the command line.

        Args:
            environ: the environment; None: the process's own.
            file: a `devflow.toml` in place of the user's and the working directory's; None: those.
            judge_folder: decides whether the working directory's file may set more than taste, if
                the user has not agreed before; None: that file is ignored.
            overrides: from the command line; None values are left out.

        Raises:
            ConfigurationError: a file cannot be read, a name is unknown, or a value is not allowed;
                the message names it.
        """
        env = os.environ if environ is None else environ
        files, ceilings = _read_files(env, file, judge_folder)
        values: dict[str, object] = {**files, **_read_environment(env)}
        values.update({name: value for name, value in overrides.items() if value is not None})
        settings, home = _validate(cls, values), find_home(env)
        own, folder = settings.cost_budget_usd, _validate(cls, ceilings).cost_budget_usd
        is_limited = folder is not None and (own is None or folder < own)
        loaded = settings.model_copy(
            update={
                "data_dir": _resolve_data_dir(settings, home),
                "claude_dir": expand_home(home, settings.claude_dir),
                "cost_budget_usd": folder if is_limited else own,
            }
        )
        loaded._is_limited_by_folder = is_limited  # noqa: SLF001 - an instance of this class
        loaded._config_dir = find_config_dir(env)  # noqa: SLF001
        return loaded

    def server_keys(self) -> tuple[str, ...]:
        """Return the pool and the single key, each once, else the key of `devflow init`, else ().

        Raises:
            ConfigurationError: the stored key cannot be read.
        """
        keys = unique_keys(self.api_keys, self.api_key)
        return keys or read_stored_key(self._config_dir, self.base_url)

    def require_keys(self) -> tuple[str, ...]:
        """Return the server keys; they may be empty if another provider has a key.

        Raises:
            ConfigurationError: there is no key at all.
        """
        keys = self.server_keys()
        if not keys and not any(one.keys() for one in self.providers.values()):
            raise ConfigurationError(
                "No OpenRouter key. Run `devflow init`, or set one of"
                f" {', '.join(API_KEY_VARIABLES)}; `devflow demo` needs none."
            )
        return keys


SECRETS = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if "Secret" in str(field.annotation) or ProviderSettings.__name__ in str(field.annotation)
)
"""Names of the settings that hold a secret."""
TASTE: Mapping[str, Taste] = {
    name: mark
    for name, field in Settings.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, Taste)
}
"""Settings that the file of a working directory may set without asking."""


def find_folder_question(
    folder: Path, environ: Mapping[str, str] | None = None
) -> FolderQuestion | None:
    """Return what to ask about a folder's `devflow.toml`; None if it sets only taste or is missing.

    Args:
        folder: the folder.
        environ: tells where the user's answers are kept; None: the process's own environment.

    Raises:
        ConfigurationError: the file cannot be read, or holds an unknown setting.
    """
    found = FolderSettings.read(folder)
    if found is None:
        return None
    env = os.environ if environ is None else environ
    return _ask_about(found, find_config_dir(env))


def open_trusted_folders() -> TrustedFolders:
    """Return the record of the user's answers about folders; each of its methods reads the file."""
    return TrustedFolders(find_config_dir(os.environ))


def _read_files(
    env: Mapping[str, str], file: Path | None, judge_folder: Judge | None
) -> tuple[dict[str, object], dict[str, object]]:
    """Return what the files set, and the ceilings of a folder that is not trusted."""
    if file is not None:
        return parse_settings(file, read_settings(file)), {}
    config_dir = find_config_dir(env)
    own = config_dir / SETTINGS_FILE if config_dir else None
    values = parse_settings(own, read_settings(own)) if own and own.is_file() else {}
    found = FolderSettings.read(Path()) if judge_folder else None
    if found is None or judge_folder is None or (own and found.path == own.resolve()):
        return values, {}
    question = _ask_about(found, config_dir)
    if question and (question.answer or judge_folder(question)):
        return merge_settings(values, found.values), {}
    return merge_settings(values, found.taste(TASTE)), found.ceilings(TASTE)


def _ask_about(found: FolderSettings, config_dir: Path | None) -> FolderQuestion | None:
    for name in found.values:
        if name not in Settings.model_fields:
            raise ConfigurationError(describe_unknown(name, _KINDS))
    left_out = found.beyond_taste(TASTE)
    if not left_out:
        return None
    return FolderQuestion(
        file=found, left_out=left_out, folders=TrustedFolders(config_dir), secrets=SECRETS
    )


def _read_environment(env: Mapping[str, str]) -> dict[str, object]:
    keys = [(variable, "api_key") for variable in reversed(API_KEY_VARIABLES[1:])]
    return read_environment(env, _KINDS, (*keys, *ENVIRONMENT_ALIASES.items()), _PREFIX)


_KINDS: Mapping[str, Kind] = {
    name: find_kind(str(field.annotation)) for name, field in Settings.model_fields.items()
}


def _validate(kind: type[_SettingsT], values: Mapping[str, object]) -> _SettingsT:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(describe_error(error, values, SECRETS, _PREFIX, _KINDS)) from None


def _resolve_data_dir(settings: Settings, home: Path) -> Path:
    if settings.data_dir != Path():
        return expand_home(home, settings.data_dir)
    usual = (settings.xdg_data_home or home / ".local" / "share") / "devflow"
    return usual / SANDBOX_FOLDER if settings.upstream == LOOPBACK_UPSTREAM else usual
