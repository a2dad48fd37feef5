"""A refused answer is paid, booked and replaced: checks, escalation and their limits, in Python."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.ledger import LedgerEntry
from devflow_core.request import ResponseFormat, Tool
from devflow_core.routing import CheckStep
from devflow_gateway import (
    AsyncGateway,
    ChatRequest,
    CheckedAnswer,
    Completion,
    Gateway,
    Settings,
    TextDelta,
    Verification,
)
from devflow_sandbox import Sandbox

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
WRONG, RIGHT = '{"a": "zebra"}', '{"a": 1}'
CHAIN = (
    "deepseek/deepseek-v3.2",
    "openai/gpt-5-mini",
    "google/gemini-2.5-flash",
    "anthropic/claude-haiku-4.5",
)
JUDGE = "openai/gpt-5-nano"
ASKED = replace(
    ChatRequest.from_text("Give a as JSON.", model="auto:verified"),
    response_format=ResponseFormat(kind="json_schema", schema=SCHEMA),
)
FREE = ChatRequest.from_text("How many apples are left?", model=",".join(CHAIN))
MODE = ChatRequest.from_text("Fix the race in this scheduler.", model="auto:verified")
ADD = Tool(
    name="add",
    schema={"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}},
)
PATIENCE_S = 60.0


def says(*replies: str | dict[str, Any]) -> dict[str, Any]:
    """Return a script of replies, each a text or the fields of one."""
    told = [{"text": one} if isinstance(one, str) else one for one in replies]
    return {"turns": [{"reply": one} for one in told]}


def calls(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def checks_of(entry: LedgerEntry) -> list[str | None]:
    return [one.check for one in entry.attempts]


def billed_usd(sandbox: Sandbox) -> Decimal:
    return sum((Decimal(one["cost_usd"]) for one in sandbox.bill()["calls"]), Decimal(0))


def assert_books_agree(sandbox: Sandbox, completion: Completion) -> None:
    """Check that the ledger has what was billed, for each model."""
    booked = [(one.model, one.cost_usd) for one in completion.entry.attempts]
    billed = [(one["model"], Decimal(one["cost_usd"])) for one in sandbox.bill()["calls"]]
    assert [cost for _, cost in booked] == [cost for _, cost in billed]
    assert completion.cost_usd == billed_usd(sandbox)


async def test_a_wrong_answer_is_paid_and_the_next_better_model_answers(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_script(says(WRONG, RIGHT))
    completion = await gateway.complete(ASKED)
    first, second = completion.entry.attempts
    assert completion.text == RIGHT
    assert completion.model == second.model != first.model
    assert checks_of(completion.entry) == ["refused", "accepted"]
    assert first.outcome == "succeeded"  # the provider has done what it was asked
    assert first.cost_usd > 0
    assert_books_agree(sandbox, completion)
    record = completion.route.verification
    assert record is not None
    assert [one.check for one in record.steps] == ["schema", "schema"]
    # nothing that the model said is in the ledger
    assert "zebra" not in str(orjson.loads(completion.entry.decision or "")["verification"])


async def test_the_chain_gets_better_up_to_the_best(gateway: AsyncGateway) -> None:
    route = gateway.router.route(MODE, gateway.classifier.classify(MODE))
    quality = [one.terms.quality for one in route.candidates if one.terms]
    cost = [one.terms.cost_usd or 0.0 for one in route.candidates if one.terms]
    best = gateway.explain(replace(MODE, model="auto:best")).chosen
    assert len(quality) >= 2
    assert quality == sorted(quality)
    assert cost == sorted(cost)
    assert best.terms is not None
    assert quality[-1] == pytest.approx(best.terms.quality, abs=0.006)
    # the cap on fallbacks, four times the first, does not hold the escalation
    assert cost[-1] > 4 * cost[0]


async def test_what_none_accepts_is_given_with_a_note(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_script({"turns": [{"reply": {"text": "```python\nif:\n```"}, "repeat": True}]})
    completion = await gateway.complete(FREE, verification=Verification())
    record = completion.route.verification
    assert record is not None
    assert record.summary == "refused by code, answer 4"
    assert [one.model for one in completion.entry.attempts] == list(CHAIN)
    assert completion.model == CHAIN[-1]
    assert_books_agree(sandbox, completion)


@pytest.mark.parametrize(
    ("refused", "accepted", "request_"),
    [
        (calls("subtract", {"x": 1}), calls("add", {"x": 1}), replace(FREE, tools=(ADD,))),
        (calls("add", {"x": "1"}), calls("add", {"x": 1}), replace(FREE, tools=(ADD,))),
        (calls("add", '{"x": 1'), calls("add", {"x": 1}), replace(FREE, tools=(ADD,))),
        ("```python\ndef f(:\n```", "```python\nx = 1\n```", FREE),
        ("```json\n{a: 1}\n```", '```json\n{"a": 1}\n```', FREE),
        ("no JSON", RIGHT, ASKED),
        ("[]", "{}", replace(FREE, response_format=ResponseFormat(kind="json_object"))),
    ],
)
async def test_each_form_is_checked(
    sandbox: Sandbox, gateway: AsyncGateway, refused: Any, accepted: Any, request_: ChatRequest
) -> None:
    sandbox.set_script(says(refused, accepted))
    completion = await gateway.complete(request_, verification=Verification())
    assert checks_of(completion.entry) == ["refused", "accepted"]


async def test_prose_is_given_as_it_comes(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    sandbox.set_script(says("Apples are kept in a cool place, away from other fruit."))
    completion = await gateway.complete(FREE, verification=Verification())
    assert checks_of(completion.entry) == ["unjudged"]
    assert completion.route.verification is not None
    assert completion.route.verification.summary == "unjudged, answer 1"


async def test_two_models_that_agree_are_enough(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    sandbox.set_script(says("So the answer is **1,042**.", "1042 apples"))
    completion = await gateway.complete(FREE, verification=Verification())
    assert checks_of(completion.entry) == ["accepted", "accepted"]
    assert completion.text == "1042 apples"
    assert_books_agree(sandbox, completion)


async def test_two_models_that_differ_leave_it_to_the_best(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_script(says("41", "42", "42"))
    completion = await gateway.complete(FREE, verification=Verification())
    assert completion.model == CHAIN[-1]  # the second and the third of the four are passed over
    assert checks_of(completion.entry) == ["refused", "accepted", "accepted"]
    assert completion.route.verification is not None
    assert [one.reason for one in completion.route.verification.steps] == [
        "others agree on another answer",
        "a later model agrees",
        "another model agrees",
    ]


async def test_a_judge_has_a_budget_of_its_own(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    checks = Verification(judge=JUDGE, judge_max_usd=Decimal("0.0007"))
    said = f"WRONG {'because ' * 400}"
    sandbox.set_script(says("They are red, I say.", said, "They are blue, I say."))
    completion = await gateway.complete(FREE, verification=checks)
    entry = completion.entry
    # the second judgement might cost more than what is left, so that it is not made
    assert checks_of(entry)[:3] == ["refused", "asked", "undecided"]
    record = completion.route.verification
    assert record is not None
    assert record.steps[0].check_usd == entry.attempts[1].cost_usd > 0
    assert "budget_exceeded" in record.steps[1].reason
    assert entry.final_attempt is not None
    assert entry.final_attempt.model == completion.model != JUDGE
    assert_books_agree(sandbox, completion)


async def test_the_judge_decides(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    sandbox.set_script(says("It is red.", "WRONG", "It is blue.", "I think: RIGHT"))
    checks = Verification(judge=JUDGE)
    completion = await gateway.complete(FREE, verification=checks)
    assert completion.text == "It is blue."
    assert checks_of(completion.entry) == ["refused", "asked", "accepted", "asked"]
    assert completion.entry.model == completion.model
    assert_books_agree(sandbox, completion)


async def test_a_ceiling_holds_over_all_answers(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    request = replace(FREE, max_output_tokens=200)
    checks = Verification()
    chain = gateway.router.route(request, gateway.classifier.classify(request)).candidates
    ceiling = (chain[1].worst_case_usd or Decimal(0)) + Decimal("0.000001")
    sandbox.set_script({"turns": [{"reply": {"text": "```json\n{\n```"}, "repeat": True}]})
    completion = await gateway.complete(request, max_cost_usd=ceiling, verification=checks)
    assert completion.cost_usd <= ceiling
    assert completion.text == "```json\n{\n```"
    record = completion.route.verification
    assert record is not None
    assert record.outcome == "refused"
    assert_books_agree(sandbox, completion)


async def test_a_budget_that_refuses_on_the_way_leaves_the_last_answer(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    request = replace(ASKED, max_output_tokens=200)
    settings = Settings.load(
        {}, base_url=sandbox.base_url, api_key=sandbox.api_key, data_dir=tmp_path / "data"
    )
    async with AsyncGateway(settings, ledger="memory") as gateway:
        chain = gateway.router.route(request, gateway.classifier.classify(request)).candidates
    first, second = (one.worst_case_usd or Decimal(0) for one in chain[:2])
    assert first < second
    limited = settings.model_copy(update={"cost_budget_usd": second})
    sandbox.set_script(says(f"not JSON {'x' * 400}", RIGHT))
    async with AsyncGateway(limited) as gateway, gateway.stream(request) as reply:
        text = [one.text async for one in reply if isinstance(one, TextDelta)]
    assert "".join(text).startswith("not JSON")
    assert reply.route.verification is not None
    assert reply.route.verification.stopped_by == "budget_exceeded"
    assert reply.entry is not None
    assert reply.entry.outcome == "succeeded"
    assert reply.entry.cost_usd == billed_usd(sandbox) < second


async def test_a_better_model_that_fails_leaves_the_last_answer(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    chain = gateway.router.route(ASKED, gateway.classifier.classify(ASKED)).candidates
    sandbox.set_faults(
        {
            "faults": [
                {"when": {"model": one.model}, "then": {"kind": "status", "status": 404}}
                for one in chain[1:]
            ]
        }
    )
    sandbox.set_script(says("```json\n[\n```"))
    completion = await gateway.complete(replace(ASKED, response_format=None))
    assert completion.model == chain[0].model
    assert completion.entry.final_attempt is completion.entry.attempts[0]
    assert completion.route.verification is not None
    assert completion.route.verification.stopped_by


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_hook_refuses_with_a_reason_and_by_raising(
    sandbox: Sandbox, gateway: AsyncGateway, is_async: bool
) -> None:
    seen: list[CheckedAnswer] = []
    steps: list[tuple[CheckStep, str]] = []

    def judge(answer: CheckedAnswer) -> bool | str | None:
        seen.append(answer)
        if len(seen) == 1:
            raise KeyError("secret of the answer")
        return "too short" if len(seen) == 2 else None

    async def judge_later(answer: CheckedAnswer) -> bool | str | None:
        return judge(answer)

    sandbox.set_script(says("one thing", "two things", "three things"))
    checks = Verification(
        hook=judge_later if is_async else judge,
        on_step=lambda step, detail: steps.append((step, detail)),
    )
    completion = await gateway.complete(FREE, verification=checks)
    assert completion.text == "three things"
    assert [one.text for one in seen] == ["one thing", "two things", "three things"]
    assert [one.reason for one, _ in steps[:2]] == ["it raised KeyError", "it gave a reason"]
    assert [one for _, one in steps] == ["'secret of the answer'", "too short", ""]
    assert "secret" not in (completion.entry.decision or "")


async def test_a_check_that_hangs_is_left(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    gate = asyncio.Event()

    async def hang(answer: CheckedAnswer) -> bool:
        await gate.wait()
        return True

    sandbox.set_script(says(WRONG, RIGHT))
    checks = Verification(hook=hang, timeout_s=0.05, schema=False)
    async with asyncio.timeout(PATIENCE_S):
        completion = await gateway.complete(ASKED, verification=replace(checks, agreement=False))
    assert set(checks_of(completion.entry)) == {"refused"}
    assert completion.route.verification is not None
    assert completion.route.verification.steps[0].reason == "no result within 0.05 s"


def command(*lines: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "\n".join(("import sys, time, os", *lines)))


async def test_a_command_decides_on_the_text_and_its_code(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    details: list[str] = []
    argv = (
        *command(
            "print('judged', sys.stdin.read())",
            "assert not any('KEY' in name for name in os.environ), 'a key'",
            "exec(open(sys.argv[1]).read())",
            "assert f(2) == 4",
        ),
        "{code}",
    )
    good = "```python\ndef f(x):\n    return 2 * x\n```"
    sandbox.set_script(says(good.replace("2 *", "3 *"), good))
    checks = Verification(command=argv, on_step=lambda _step, detail: details.append(detail))
    completion = await gateway.complete(FREE, verification=checks)
    assert completion.text == good
    assert checks_of(completion.entry) == ["refused", "accepted"]
    assert "AssertionError" in details[0]
    assert "return 3" in details[0]
    assert "return" not in str(orjson.loads(completion.entry.decision or "")["verification"])


async def test_a_command_that_hangs_is_killed_with_its_children(
    sandbox: Sandbox, gateway: AsyncGateway, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    argv = command(
        "import subprocess",
        f"child = subprocess.Popen(['sleep', '600']); open({str(pids)!r}, 'a')"
        ".write(f'{os.getpid()} {child.pid} ')",
        "sys.stdout.write('x' * 1_000_000); sys.stdout.flush()",
        "time.sleep(600)",
    )
    chain = gateway.router.route(ASKED, gateway.classifier.classify(ASKED)).candidates
    request = replace(ASKED, model=chain[0].model)
    checks = Verification(command=argv, timeout_s=2.0, schema=False)
    async with asyncio.timeout(PATIENCE_S):
        completion = await gateway.complete(
            replace(request, response_format=None), verification=checks
        )
    assert completion.route.verification is not None
    assert completion.route.verification.steps[0].reason == "it did not end within 2 s"
    assert not [one for one in pids.read_text().split() if _is_alive(int(one))]


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_program_that_is_not_there_costs_nothing(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    with pytest.raises(ConfigurationError, match="no program 'pytset'"):
        await gateway.complete(FREE, verification=Verification(command=("pytset", "-q")))
    assert sandbox.bill()["calls"] == []


async def test_the_settings_command_is_run_for_programs(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = Settings.load(
        {},
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        data_dir=tmp_path / "data",
        aliases={"careful": "auto:verified"},
        verify=command("sys.exit('41' in sys.stdin.read())"),
    )
    sandbox.set_script(says("41", "42", "41"))
    async with AsyncGateway(settings) as gateway:
        completion = await gateway.complete(replace(MODE, model="careful"))
        assert completion.text == "42"
        assert checks_of(completion.entry) == ["refused", "accepted"]
        # another mode is not checked
        assert (await gateway.complete(replace(MODE, model="auto"))).text == "41"


async def test_a_caller_who_leaves_pays_for_what_was_answered(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    waiting = asyncio.Event()

    async def hang(answer: CheckedAnswer) -> bool:
        waiting.set()
        await asyncio.Event().wait()
        return True

    sandbox.set_script(says(RIGHT))
    checks = Verification(hook=hang)
    asking = asyncio.ensure_future(gateway.complete(ASKED, verification=checks))
    async with asyncio.timeout(PATIENCE_S):
        await waiting.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    (entry,) = gateway.recent_entries
    assert entry.outcome == "cancelled"
    assert entry.cost_usd == billed_usd(sandbox) > 0


async def test_checks_speak_for_no_provider(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    sandbox.set_script(says(WRONG, RIGHT))
    completion = await gateway.complete(ASKED)
    router: Any = gateway.router
    for one in completion.entry.attempts:
        performance = router.performance.snapshot(one.model)
        assert performance is not None
        assert performance.success_rate >= 0.98


async def test_a_reply_that_breaks_off_is_asked_for_elsewhere(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    chain = gateway.router.route(ASKED, gateway.classifier.classify(ASKED)).candidates
    sandbox.set_faults(
        {
            "faults": [
                {
                    "when": {"model": chain[0].model},
                    "then": {"kind": "drop", "at": {"event": 3}},
                }
            ]
        }
    )
    sandbox.set_script(says(RIGHT, RIGHT))
    completion = await gateway.complete(ASKED)
    assert completion.text == RIGHT
    assert completion.model == chain[1].model
    assert completion.entry.outcome == "succeeded"


async def test_a_named_model_is_checked_too(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    sandbox.set_script(says(WRONG, RIGHT))
    request = replace(ASKED, model="openai/gpt-5-mini,anthropic/claude-haiku-4.5")
    completion = await gateway.complete(request, verification=Verification())
    assert completion.text == RIGHT
    assert completion.model == "anthropic/claude-haiku-4.5"


async def test_under_one_key_the_answer_is_checked_once(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_script(says(WRONG, RIGHT))
    first = await gateway.complete(ASKED, idempotency_key="1", verification=Verification())
    again = await gateway.complete(ASKED, idempotency_key="1", verification=Verification())
    assert (first.text, again.text) == (RIGHT, RIGHT)
    assert again.entry == first.entry
    assert len(sandbox.bill()["calls"]) == 2


def test_programs_without_a_loop_have_it_as_well(tmp_path: Path, openrouter_sandbox: Any) -> None:
    openrouter_sandbox.set_script(says("41", "42"))
    settings = Settings.load(
        {},
        base_url=openrouter_sandbox.base_url,
        api_key=openrouter_sandbox.api_key,
        data_dir=tmp_path / "data",
    )
    checks = Verification(hook=lambda answer: answer.text == "42")
    with Gateway(settings) as gateway:
        completion = gateway.complete(FREE, verification=checks)
        assert completion.text == "42"
        openrouter_sandbox.set_script(says("41", "42"))
        with gateway.stream(FREE, verification=checks) as reply:
            events = list(reply)
    assert [one.text for one in events if isinstance(one, TextDelta)] != []
    assert "41" not in "".join(one.text for one in events if isinstance(one, TextDelta))
