"""Checks this setup for `devflow doctor`: variables, keys, ledger, sessions, Claude Code."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from devflow_cli.run import DONE, FAILED, Run

if TYPE_CHECKING:
    from devflow_core.settings import Settings

Severity = Literal["ok", "warning", "failed"]
_WORDS: Mapping[Severity, str] = {"ok": "ok", "warning": "WARN", "failed": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of the setup has found."""

    name: str
    """What was checked."""
    detail: str
    severity: Severity = "ok"
    """Only `failed` makes the command fail."""


async def check_setup(run: Run, *, is_offline: bool) -> int:
    """Check this setup and show the findings; return the exit status.

    Args:
        run: where to show them.
        is_offline: whether to leave out the question to the provider.

    Raises:
        ConfigurationError: the settings cannot be read.
    """
    settings = run.settings()
    with run.progress.status("Checking …"):
        findings = [one async for one in _check(settings, is_offline=is_offline)]
    is_ok = all(one.severity != "failed" for one in findings)
    if run.as_json:
        rows = [{**asdict(one), "ok": one.severity != "failed"} for one in findings]
        run.emit({"ok": is_ok, "findings": rows})
    for one in findings:
        run.say(f"{_WORDS[one.severity]:4}  {one.name}: {one.detail}")
    return DONE if is_ok else FAILED


async def _check(settings: Settings, *, is_offline: bool) -> AsyncGenerator[Finding]:
    import shutil

    from devflow_claude_code import find_hints
    from devflow_core.environment import list_variables
    from devflow_core.unknown_variables import find_unknown_variables

    for variable in find_unknown_variables(list_variables()):
        yield Finding("environment", f"no setting is read from {variable}", "warning")
    async for one in _check_keys(settings, is_offline=is_offline):
        yield one
    yield _check_ledger(settings)
    is_there = settings.claude_dir.is_dir()
    missing = "" if is_there else " does not exist: no Claude Code sessions"
    hints = "".join(f". {hint}" for hint in find_hints(settings.claude_dir))
    yield Finding("sessions", f"{settings.claude_dir}{missing}{hints}")
    claude = shutil.which("claude")
    yield Finding("claude", claude or "not on the PATH; only `devflow claude` needs it")
    for one in (
        *_check_models(settings),
        _check_learned(settings),
        *_check_integration(settings),
    ):
        yield one


async def _check_keys(settings: Settings, *, is_offline: bool) -> AsyncGenerator[Finding]:
    """Ask the provider about each of its keys, which costs nothing."""
    from devflow_gateway import wiring

    count = len(settings.server_keys())
    others = sum(len(one.keys()) for one in settings.providers.values())
    if not count and not others:
        missing = "none is set; run `devflow init`. `devflow demo` needs none"
        yield Finding("keys", missing, "failed")
    if others:
        yield Finding("keys", f"{_count(others)} of other providers set, which are not asked about")
    if count and is_offline:
        yield Finding("keys", f"{_count(count)} set; not asked about")
    elif count:
        for key_id, answer in (await wiring.ask_about_keys(settings)).items():
            yield _judge_key(key_id, answer)


def _judge_key(key_id: str, answer: Mapping[str, Any] | Exception) -> Finding:
    """Return what the provider's answer about a key means for its use."""
    from devflow_core.errors import KeyRefused

    if isinstance(answer, KeyRefused):
        said = f" ({answer.detail.rstrip('.')})" if answer.detail else ""
        detail = f"{key_id}: the provider does not know this key{said}"
        return Finding("keys", f"{detail}; `devflow init --new-key` asks for another", "failed")
    if isinstance(answer, Exception):
        return Finding("keys", f"{key_id}: {answer}", "failed")
    if answer.get("is_management_key") or answer.get("is_provisioning_key"):
        return Finding(
            "keys",
            f"{key_id} is a management key, which no model can be asked with; set it as"
            " management_key, and another one as api_key",
            "failed",
        )
    left = answer.get("limit_remaining")
    if isinstance(left, int | float) and left <= 0:
        return Finding("keys", f"{key_id} has reached its limit at the provider", "failed")
    return Finding("keys", f"{key_id}: the provider knows it")


def _check_ledger(settings: Settings) -> Finding:
    from devflow_gateway import wiring

    # a check must not create an empty ledger
    if not wiring.has_ledger(settings):
        return Finding("ledger", "not begun yet")
    checked = wiring.make_store(settings).verify()
    if checked.ok:
        return Finding("ledger", f"{checked.entries} entries, chain whole")
    return Finding(
        "ledger",
        f"{checked.entries} entries, row {checked.first_bad}: {checked.reason}",
        "failed",
    )


def _check_models(settings: Settings) -> Iterator[Finding]:
    """Tell the ages of the list of models and of their scores, and what preferred names mean."""
    from devflow_core.errors import ConfigurationError
    from devflow_gateway import wiring

    from devflow_cli.views.ages import describe_ages

    try:
        ages = describe_ages(wiring.open_catalogue(settings))
        preferred = wiring.make_router(settings).preferred
    except ConfigurationError as error:
        yield Finding("models", error.message, "failed")
        return
    for name, age in zip(("models", "scores"), ages, strict=True):
        yield Finding(name, age)
    if preferred:
        said = (
            name if name == model else f"{name} is {model or 'not a model of the catalogue'}"
            for name, model in preferred.items()
        )
        is_known = None not in preferred.values()
        yield Finding("preferred models", ", ".join(said), "ok" if is_known else "failed")


def _check_learned(settings: Settings) -> Finding:
    """Report the learned table in use; it fails where there is one that cannot be read."""
    from devflow_core.errors import ConfigurationError
    from devflow_routing import LearnedFolder

    try:
        table = LearnedFolder(settings.data_dir).load()
    except ConfigurationError as error:
        return Finding("learned", f"not used: {error.message}", "failed")
    if table is None:
        return Finding("learned", "nothing; the choice goes by public evidence")
    facts = table.facts
    return Finding(
        "learned",
        f"table {table.version} of {facts.answers} answers of {len(table.models)} models,"
        f" from {facts.source}; `devflow routing show`",
    )


def _check_integration(settings: Settings) -> Iterator[Finding]:
    from importlib import metadata

    from devflow_claude_code import check_integration

    from devflow_cli.own_program import find_own_program, lasting_search_path

    found = check_integration(
        config_dir=settings.claude_dir,
        project=Path.cwd(),
        program=find_own_program().path,
        search_path=lasting_search_path(),
        version=metadata.version("devflow-gateway-cli"),
    )
    for one in found:
        yield Finding(one.name, one.detail, "ok" if one.is_ok else "failed")


def _count(keys: int) -> str:
    return f"{keys} key{'s' * (keys != 1)}"
