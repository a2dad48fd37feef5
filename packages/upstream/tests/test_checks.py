"""What each check of an answer says, and that no answer and no schema holds a process up."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.messages import ToolCall
from devflow_core.ports import Check
from devflow_core.request import ChatRequest, ResponseFormat, Tool, ToolChoice
from devflow_core.testing import a_request
from devflow_core.verification import CheckedAnswer, Verdict
from devflow_openrouter.structured_output import parse_structured
from devflow_upstream.checks.agreement import AgreementCheck, find_final
from devflow_upstream.checks.bounded_schema import TooMuchToCheck, find_violation
from devflow_upstream.checks.code import CodeCheck
from devflow_upstream.checks.forms import FormatCheck, ToolCallCheck
from hypothesis import given
from hypothesis import strategies as st


@dataclass
class FixedPanel:
    """A panel with given answers, which asks nobody."""

    earlier: Sequence[CheckedAnswer] = ()
    can_go_on: bool = True
    asked_usd: Decimal = Decimal(0)
    asked: list[ChatRequest] = field(default_factory=list[ChatRequest])

    async def ask(self, request: ChatRequest, /) -> CheckedAnswer:
        self.asked.append(request)
        raise InvalidRequest("nobody is asked")


def an_answer(text: str = "", *calls: ToolCall) -> CheckedAnswer:
    return CheckedAnswer(text=text, tool_calls=calls, finish_reason="stop", model="a/b")


async def judge(
    check: Check, answer: CheckedAnswer, request: ChatRequest | None = None, **panel: Any
) -> bool | None:
    verdict = await check.judge(request or a_request(), answer, FixedPanel(**panel))
    return None if verdict is None else verdict.is_accepted


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("42", "42"),
        ("42.0", "42"),
        ("1,042 apples", "1042"),
        ("$1,042.50", "1042.5"),
        ("The answer is **42**.", "42"),
        ("First 3, then 4.\n\nAnswer: 7 apples", "7"),
        ("so x = 3\n#### 12", "12"),
        (r"Hence \boxed{\text{12 cm}}.", "12"),
        ("Paris.", "paris"),
        ("Paris", "paris"),
        ("We add them.\nThat makes 12 in all.", "12"),
        # nothing that could be compared, or that two models would say by chance
        ("Hello! How can I help you today?", None),
        ("Hello!", None),
        ("B", None),
        ("(c)", None),
        ("yes", None),
        ("The answer is B", None),
        ("```python\nx = 1\n```", None),
        ("A long text about apples, pears and plums.", None),
        ("Do this:\n1. Peel them.\n2. Eat them.", None),
        ("", None),
    ],
)
def test_the_final_answer_is_found(text: str, final: str | None) -> None:
    assert find_final(an_answer(text)) == final


@given(st.text(max_size=400))
def test_any_text_has_a_final_answer_or_none(text: str) -> None:
    final = find_final(an_answer(text))
    assert final is None or len(final) > 0


async def test_agreement_needs_a_second_model() -> None:
    check = AgreementCheck()
    first, second, other = an_answer("42"), an_answer("Answer: 42"), an_answer("41")
    alone = await check.judge(a_request(), first, FixedPanel())
    assert alone == Verdict(
        is_accepted=False, is_undecided=True, reason="a second model has to agree"
    )
    assert await judge(check, first, can_go_on=False) is None
    agreed = await check.judge(a_request(), second, FixedPanel(earlier=(other, first)))
    assert agreed is not None
    assert (agreed.is_accepted, agreed.agreeing) == (True, (1,))
    differed = await check.judge(a_request(), other, FixedPanel(earlier=(first,)))
    assert differed is not None
    assert (differed.is_undecided, differed.wants_best) == (True, True)


@pytest.mark.parametrize(
    ("text", "is_accepted"),
    [
        ("```python\nx = 1\n```", True),
        ("```py\n    x = 1\n```", True),
        ("```python\ndef f(:\n```", False),
        ("```python\nx = (1,", False),  # cut off
        ("One:\n```json\n{}\n```\ntwo:\n```json\n{,}\n```", False),
        ("```python\n>>> f(1)\n2\n```", None),
        ("```json\n// a note\n{}\n```", None),
        ("```rust\nfn f( {\n```", None),
        ("```\nx = (\n```", None),
        ("no code", None),
        (f"```python\n{'(' * 10_000}\n```", False),
        (f"```python\n{'-' * 40_000}1\n```", None),
        (f"```python\n{'x = (' * 20_000}\n```", None),
    ],
)
async def test_code_is_parsed(text: str, is_accepted: bool | None) -> None:
    found = await judge(CodeCheck(), an_answer(text))
    if is_accepted is None and "-" * 10 in text:
        assert found is not False  # too deep to tell, or fine: by the interpreter
    else:
        assert found is is_accepted


ADD = Tool(
    name="add",
    schema={"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}},
)
SEARCH = Tool(name="web_search", native={"type": "web_search"})


@pytest.mark.parametrize(
    ("name", "arguments", "is_accepted"),
    [
        ("add", '{"x": 1}', True),
        ("add", '{"x": "1"}', False),
        ("add", "{}", False),
        ("add", "", False),
        ("add", "[1]", False),
        ("add", '{"x": 1', False),
        ("Add", '{"x": 1}', False),
        ("web_search", "anything", None),
    ],
)
async def test_calls_are_judged_by_their_tools(
    name: str, arguments: str, is_accepted: bool | None
) -> None:
    request = a_request(tools=(ADD, SEARCH))
    answer = an_answer("", ToolCall(id="1", name=name, arguments=arguments))
    assert await judge(ToolCallCheck(), answer, request) is is_accepted


async def test_a_call_that_must_be_made_is_missed() -> None:
    request = a_request(tools=(ADD,))
    assert await judge(ToolCallCheck(), an_answer("I would add."), request) is None
    forced = replace(request, tool_choice=ToolChoice(mode="required"))
    assert await judge(ToolCallCheck(), an_answer("I would add."), forced) is False


def _alternatives(depth: int) -> dict[str, Any]:
    """Return a small schema whose every step doubles the ones below it."""
    names = [f"a{number}" for number in range(depth)]
    rules: dict[str, Any] = {
        name: {"anyOf": [{"$ref": f"#/$defs/{after}"}, {"$ref": f"#/$defs/{after}"}]}
        for name, after in pairwise(names)
    }
    return {"$defs": {**rules, names[-1]: False}, "$ref": "#/$defs/a0"}


def test_no_schema_holds_a_process_up() -> None:
    with pytest.raises(TooMuchToCheck):
        find_violation(_alternatives(40), 1)
    with pytest.raises(TooMuchToCheck):
        find_violation({"description": "x" * 1_000_000}, 1)
    # hours, if the pattern were tried
    assert find_violation({"pattern": "(a+)+$"}, "a" * 60 + "b") is None
    hostile = {"patternProperties": {"(a+)+$": True}, "additionalProperties": False}
    assert find_violation(hostile, {"a" * 60 + "b": 1}) is None
    endless: dict[str, Any] = {"$ref": "#"}
    with pytest.raises(TooMuchToCheck):
        find_violation(endless, 1)


@pytest.fixture
def listening() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/schema.json", asked
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_schema_makes_no_call(listening: tuple[str, list[str]]) -> None:
    address, asked = listening
    wanted = ResponseFormat(kind="json_schema", schema={"$ref": address})
    assert find_violation(wanted.schema, {}) is None
    request = a_request(response_format=wanted)
    assert await judge(FormatCheck(), an_answer("{}"), request) is True
    with pytest.raises(InvalidRequest, match="which is not in it"):
        parse_structured(wanted, "{}")
    assert asked == []


@pytest.mark.parametrize("value", [None, 7, "text", ["a", 1], {"a": 1}, 2**70])
def test_what_is_no_schema_is_fulfilled(value: Any) -> None:
    with suppress(TooMuchToCheck):
        assert find_violation({"type": value, "properties": value}, {"a": 1}) is None
