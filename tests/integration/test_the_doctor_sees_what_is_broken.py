"""`devflow doctor --url` over 50 gateways that are broken in one way each, and over whole ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET  # what is parsed is our own

import pytest
from devflow_cli.conformance import CLAUSES, Examination, Finding, Group, examine
from devflow_cli.testing import CommandResult
from devflow_sandbox.threaded import ThreadedSandbox
from integration.broken_gateways import Way, broken_gateway
from integration.broken_ways import BUSY, COMMENTS, PINGS, STUBBORN, WAYS, WHOLE
from integration.served import Served, serve, upstream_of

GROUPS: tuple[Group, ...] = ("messages", "responses", "chat")


@dataclass(frozen=True)
class Running:
    """A gateway over the stand-in."""

    served: Served
    sandbox: ThreadedSandbox
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.port}"

    def doctor(self, *options: str, url: str = "", **environ: str) -> CommandResult:
        """Run the command on the gateway, or on another one."""
        given = ("--url", url or self.url, "--stand-in", self.sandbox.url, *options)
        return self.served.devflow("doctor", *given, **{"DEVFLOW_CLIENT_KEY": self.key, **environ})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    with ThreadedSandbox() as sandbox, serve(home, **upstream_of(sandbox)) as served:
        assert served.first_key is not None
        yield Running(served, sandbox, served.first_key)


async def examined(way: Way, gateway: Running, *only: str) -> dict[str, Finding]:
    """Return the findings of a dialect, or of all, on a gateway that is broken in this way."""
    group = way.clause.partition(".")[0]
    groups: list[Group] = [one for one in GROUPS if one == group]
    async with broken_gateway(way, gateway.url, gateway.key) as url:
        order = Examination(
            url=url,
            key=gateway.key,
            groups=groups,
            stand_in=gateway.sandbox.url,
            only=only,
            limit_usd=Decimal(1),
        )
        return {one.clause.name: one for one in await examine(order)}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.clause}-{way.name}")
async def test_a_way_to_be_broken_fails_its_clause_and_no_other(way: Way, gateway: Running) -> None:
    found = await examined(way, gateway)
    failed = {name: one.detail for name, one in found.items() if one.outcome == "failed"}
    others = {name: one.detail for name, one in found.items() if one.outcome != "ok"}
    assert list(failed) == [way.clause], failed
    # what stands on the broken clause is not tried
    assert {why for name, why in others.items() if name not in failed} <= {f"needs {way.clause}"}


def test_every_check_fails_somewhere_but_for_those_without_which_nothing_runs() -> None:
    broken = {way.clause for way in WAYS}
    assert broken <= {one.name for one in CLAUSES}
    seen = {one.check for one in CLAUSES if one.name in broken}
    unseen = {one.check.__name__ for one in CLAUSES if one.check not in seen}
    assert unseen == {"reachable", "answers", "models"}


async def test_a_whole_gateway_keeps_every_clause(gateway: Running) -> None:
    found = await examined(WHOLE, gateway)
    assert {name: one.detail for name, one in found.items() if one.outcome != "ok"} == {}
    assert set(found) == {one.name for one in CLAUSES}
    assert all(one.calls <= one.clause.effort.calls for one in found.values())


WORDS = ("system_prompt", "late_system", "tool_results", "utf8")


async def test_a_model_that_does_not_obey_is_not_held_against_the_gateway(
    gateway: Running,
) -> None:
    found = await examined(STUBBORN, gateway, *(f"messages.{one}" for one in WORDS))
    assert {name: one.outcome for name, one in found.items()} == {
        f"messages.{one}": "not_shown" for one in WORDS
    }


async def test_a_busy_model_is_asked_again_and_then_not_held_against_the_gateway(
    gateway: Running,
) -> None:
    found = await examined(BUSY, gateway, "messages.max_tokens")
    assert [(one.outcome, "busy" in one.detail) for one in found.values()] == [("not_shown", True)]


@pytest.mark.parametrize("way", [PINGS, COMMENTS], ids=lambda way: way.name)
async def test_signs_of_life_are_no_fault(way: Way, gateway: Running) -> None:
    found = await examined(way, gateway)
    assert [one.detail for one in found.values() if one.outcome != "ok"] == []


async def test_openrouters_own_shape_fails_where_it_breaks_clients(gateway: Running) -> None:
    sandbox = gateway.sandbox
    order = Examination(
        url=f"{sandbox.url}/api/v1", key=sandbox.api_key, groups=["chat"], stand_in=sandbox.url
    )
    failed = [one.clause.name for one in await examine(order) if one.outcome != "ok"]
    # its request id is Cloudflare's, which the stand-in has not
    assert failed == ["chat.request_id", "chat.one_role", "chat.one_finish"]


async def test_nothing_is_spent_beyond_the_limit(gateway: Running) -> None:
    before = len(gateway.sandbox.bill()["calls"])
    limit = Decimal("0.0000001")
    order = Examination(url=gateway.url, key=gateway.key, limit_usd=limit)
    found = await examine(order)
    asking = [one for one in found if one.clause.effort.calls]
    assert {one.outcome for one in asking} == {"skipped"}
    assert all("raise --max-cost-usd" in one.detail for one in asking)
    assert sum(one.calls for one in found) == 0
    assert len(gateway.sandbox.bill()["calls"]) == before


async def test_what_was_spent_is_what_the_stand_in_bills(gateway: Running) -> None:
    before = Decimal(gateway.sandbox.bill()["total_usd"])
    order = Examination(url=gateway.url, key=gateway.key, only=["messages.tool_*", "chat.utf8"])
    found = await examine(order)
    assert [one.outcome for one in found] == ["ok"] * 3
    billed = Decimal(gateway.sandbox.bill()["total_usd"]) - before
    assert sum(one.cost_usd for one in found) == billed > 0


def test_the_command_finds_a_whole_gateway_whole_and_writes_junit(
    gateway: Running, tmp_path: Path
) -> None:
    file = tmp_path / "doctor.xml"
    done = gateway.doctor("--json", "--junit", str(file))
    assert (done.status, done.document["ok"]) == (0, True), done.out
    found = done.document["findings"]
    assert {one["outcome"] for one in found} == {"ok"}
    assert {one["group"] for one in found} == {"gateway", "messages", "responses", "chat"}
    assert Decimal(done.document["cost_usd"]) > 0
    suite = ET.parse(file).getroot()[0]  # noqa: S314 - written by the command above
    assert (suite.get("tests"), suite.get("failures")) == (str(len(found)), "0")
    assert [one.get("name") for one in suite.iter("testcase")] == [one["name"] for one in found]


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_failure_is_told_with_its_promise_at_every_width(
    gateway: Running, tmp_path: Path, columns: int
) -> None:
    file = tmp_path / "doctor.xml"
    done = gateway.doctor(
        "--openai",
        "--only",
        "one_role",
        "--only",
        "chat.error*",
        "--junit",
        str(file),
        url=f"{gateway.sandbox.url}/api",
        DEVFLOW_CLIENT_KEY=gateway.sandbox.api_key,
        COLUMNS=str(columns),
    )
    assert done.status == 1
    _table, _, explained = done.out.partition("FAIL chat.one_role\n")  # in a pipe a table is whole
    assert explained
    assert max(len(line) for line in explained.splitlines()) <= columns
    told = " ".join(done.out.split())
    assert "Promise: A stream names the role at most once" in told
    assert "send it in the first only" in told
    assert "1 FAIL" in told
    failures = list(ET.parse(file).getroot().iter("failure"))  # noqa: S314
    assert len(failures) == 1
    assert "the role is in" in str(failures[0].get("message"))


def test_a_gateway_that_is_not_there_and_a_clause_that_is_not_there(gateway: Running) -> None:
    done = gateway.doctor("--json", url="http://127.0.0.1:9")
    assert (done.status, done.document["findings"][0]["name"]) == (1, "gateway.reachable")
    done = gateway.doctor("--only", "messages.nothing")
    assert (done.status, "docs/doctor.md" in done.err) == (1, True)
    assert gateway.doctor("--max-cost-usd", "much").status == 2
