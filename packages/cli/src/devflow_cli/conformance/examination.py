"""Examines a gateway: checks one clause after the other, and keeps to a limit in USD."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache

import httpx
from devflow_core.addresses import (
    hide_user_info,
    parse_address,
    parse_confidential_address,
)
from devflow_core.errors import ConfigurationError

from devflow_cli.conformance.clause import Clause, Finding
from devflow_cli.conformance.clauses import CLAUSES
from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import JsonObject
from devflow_cli.conformance.speech import ChatSpeech, MessagesSpeech, ResponsesSpeech, Speech
from devflow_cli.conformance.spending import Spending, read_prices
from devflow_cli.conformance.stand_in import StandIn
from devflow_cli.conformance.terms import (
    ClauseBroken,
    ClauseNotShown,
    ClauseSkipped,
    Group,
    Outcome,
)

DEFAULT_LIMIT_USD = Decimal("0.15")
"""The default limit of an examination in USD; all clauses cost about 0.03 with small models."""
MAX_SILENCE_S = 60.0
"""Seconds that an answer may stop coming before the gateway counts as hanging."""
MAX_CLAUSE_S = 300.0
"""Seconds that the check of one clause may take."""
SPEECHES: dict[Group, Speech] = {
    "messages": MessagesSpeech(),
    "responses": ResponsesSpeech(),
    "chat": ChatSpeech(),
}
# The cheap models that each dialect's clients know; the first one that is listed is asked.
_PREFERRED: dict[Group, tuple[str, ...]] = {
    "messages": ("claude-haiku-4-5", "claude-haiku-4.5", "claude-sonnet-4-5"),
    "responses": ("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini"),
    "chat": ("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini"),
}
Progress = Callable[[Clause], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """An order for an examination: what to examine, and how."""

    url: str
    """The gateway's root URL; it may end in `/v1`."""
    key: str | None = None
    groups: Collection[Group] = ()
    """The dialects to examine, besides `gateway`; if empty, all that the gateway answers in.

    With `only`, empty stands for all dialects.
    """
    only: Sequence[str] = ()
    """Names or patterns of the clauses to check, with or without the group; if empty, all."""
    model: str | None = None
    """The model to ask in every dialect; None: a cheap one of the dialect's own."""
    limit_usd: Decimal = DEFAULT_LIMIT_USD
    stand_in: str | None = None
    """The root URL of the stand-in upstream of the gateway; None skips clauses that need it."""


async def examine(order: Examination, on_clause: Progress = lambda _: None) -> list[Finding]:
    """Check the clauses of an order, and return a finding for each, in the order of `CLAUSES`.

    A gateway that misbehaves or does not answer gives findings; it does not make this raise.

    Args:
        order: what to examine.
        on_clause: called with each clause before it is checked.

    Raises:
        ConfigurationError: a URL is invalid, or would send the key unencrypted; or an entry of
            `only` matches no clause.
    """
    chosen = _choose_by_name(order.only)
    url = _read_url(order)
    async with _open_client(url, order.key) as client, _open_stand_in(order) as stand_in:
        models = await _list_models(client)
        spending = Spending(limit_usd=order.limit_usd, prices=read_prices(models))
        probes: dict[Group, Probe] = {
            group: Probe(
                client=client,
                speech=speech,
                model=order.model or _choose_model(group, models),
                models=models,
                key=order.key,
                spending=spending,
                stand_in=stand_in,
            )
            for group, speech in SPEECHES.items()
        }
        # the gateway's own clauses are checked in the dialect that most gateways know
        probes["gateway"] = probes["chat"]
        groups = await _find_groups(order, client, probes)
        findings: list[Finding] = []
        for clause in chosen:
            if clause.group == "gateway" or clause.group in groups:
                on_clause(clause)
                findings.append(await _check(clause, probes[clause.group], findings))
    return findings


def _choose_by_name(only: Sequence[str]) -> list[Clause]:
    for pattern in only:
        if not any(_is_meant(clause, pattern) for clause in CLAUSES):
            raise ConfigurationError(
                f"No clause is called {pattern!r}; docs/doctor.md lists all, as messages.cache."
            )
    return [one for one in CLAUSES if not only or any(_is_meant(one, name) for name in only)]


def _is_meant(clause: Clause, pattern: str) -> bool:
    return fnmatchcase(clause.name, pattern) or clause.name.partition(".")[2] == pattern


def _read_url(order: Examination) -> str:
    for url, parse in (
        (order.url, parse_confidential_address if order.key else parse_address),
        (order.stand_in or order.url, parse_address),
    ):
        try:
            parse(url)
        except ValueError as error:
            raise ConfigurationError(
                f"The URL {hide_user_info(url)!r} cannot be used: {error}."
            ) from None
    return order.url.rstrip("/").removesuffix("/v1")


def _open_client(url: str, key: str | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # trust_env: a proxy of the environment would be examined instead of the gateway
    return httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=MAX_SILENCE_S,
        trust_env=False,
        verify=_load_certificates(),
    )


@lru_cache(maxsize=1)
def _load_certificates() -> ssl.SSLContext:
    # httpx's own, loaded once: reading them takes longer than all requests of an examination
    return httpx.create_ssl_context(trust_env=False)


@asynccontextmanager
async def _open_stand_in(order: Examination) -> AsyncGenerator[StandIn | None]:
    if order.stand_in is None:
        yield None
        return
    async with _open_client(order.stand_in) as client:
        yield StandIn(client)


async def _list_models(client: httpx.AsyncClient) -> list[JsonObject]:
    """Return the gateway's list of models; empty if it has none that can be read."""
    try:
        found = (await client.get("/v1/models")).json()["data"]
        return [one for one in found if isinstance(one, dict)]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return []


def _choose_model(group: Group, models: Sequence[JsonObject]) -> str:
    ids = [str(one.get("id")) for one in models]
    for name in _PREFERRED[group]:
        for one in ids:
            if one.rpartition("/")[2] == name:
                return one
    return _PREFERRED[group][0]


async def _find_groups(
    order: Examination, client: httpx.AsyncClient, probes: dict[Group, Probe]
) -> Collection[Group]:
    """Return the groups that were named; without any, those whose path the gateway knows.

    All groups, if clauses were named instead.
    """
    if order.groups:
        return order.groups
    # clauses that were named are checked even if their dialect does not seem to answer
    if order.only:
        return tuple(SPEECHES)
    found: list[Group] = []
    for group, speech in SPEECHES.items():
        body = speech.invalid_body(probes[group].model)
        try:
            reply = await client.post(speech.path, json=body, headers=dict(speech.headers))
        except httpx.HTTPError:
            continue
        # these say that the path is unknown; any other answer shows that the gateway has it
        if reply.status_code not in (404, 405, 501):
            found.append(group)
    return found


async def _check(clause: Clause, probe: Probe, before: Sequence[Finding]) -> Finding:
    started_s, spent = time.monotonic(), probe.spending.spent_usd
    probe.effort, probe.calls = clause.effort, 0
    outcome, detail = await _judge(clause, probe, before)
    return Finding(
        clause=clause,
        outcome=outcome,
        detail=detail,
        cost_usd=probe.spending.spent_usd - spent,
        calls=probe.calls,
        seconds=time.monotonic() - started_s,
    )


async def _judge(clause: Clause, probe: Probe, before: Sequence[Finding]) -> tuple[Outcome, str]:
    obstacle = _find_obstacle(clause, probe, before)
    if obstacle is not None:
        return "skipped", obstacle
    try:
        async with asyncio.timeout(MAX_CLAUSE_S):
            return "ok", await clause.check(probe)
    except ClauseBroken as seen:
        return "failed", str(seen)
    except ClauseNotShown as seen:
        return "not_shown", str(seen)
    except ClauseSkipped as seen:
        return "skipped", str(seen)
    except TimeoutError:
        return "failed", f"it takes longer than {MAX_CLAUSE_S:g} s"
    # a malformed answer is a finding about the gateway, not a bug of the check
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return "failed", f"{type(error).__name__}: {error}"[:200]


def _find_obstacle(clause: Clause, probe: Probe, before: Sequence[Finding]) -> str | None:
    """Return why a clause is skipped, for people; None if it is checked."""
    failed = {one.clause.name for one in before if one.outcome == "failed"}
    needed = ["gateway.reachable"] if clause.effort.calls else []
    needed += [f"{clause.group}.{one}" for one in clause.needs]
    for name in needed:
        if name in failed:
            return f"needs {name}"
    if not probe.spending.allows(clause.effort, probe.model):
        worst = probe.spending.worst_case(clause.effort, probe.model)
        return (
            f"may cost {worst:.4f} USD, and {probe.spending.spent_usd:.4f} of"
            f" {probe.spending.limit_usd} USD are spent: raise --max-cost-usd"
        )
    return None
