"""Answers `/sandbox/…`: the endpoints that control the stand-in itself."""

from __future__ import annotations

from typing import cast

import orjson
from devflow_core.errors import ConfigurationError

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.faults import schema as fault_schema
from devflow_sandbox.faults.matching import FaultRules
from devflow_sandbox.faults.plan import FaultCase, find_case, load_plan
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.parsed_request import BodyReader, parse_body
from devflow_sandbox.replies.script import REPLY_SCRIPT, ScriptRunner
from devflow_sandbox.replies.script_loader import ScriptSource, parse_script
from devflow_sandbox.sandbox_state import SandboxState


def get_bill(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/bill`: what each call really cost; `?since=N` skips the first N."""
    since = request.query_parameters().get("since", "0")
    if not (since.isascii() and since.isdigit()):
        raise invalid_request("Invalid query parameter since: expected a whole number")
    return json_answer(state.billing.make_bill(since=int(since)))


def load_faults(state: SandboxState, source: ScriptSource) -> None:
    """Replace the fault script and reset its counters.

    Raises:
        ConfigurationError: the script is invalid; names the line.
    """
    state.faults = FaultRules(
        parse_script(source, fault_schema.FAULT_SCRIPT, "fault script"), state.setup.seed
    )


def play_case(state: SandboxState, case: FaultCase) -> None:
    """Play a case of the fault plan from now on: its faults and its replies."""
    state.faults = FaultRules(case.fault_script(), state.setup.seed)
    state.reply_script = ScriptRunner(case.reply_script())


def load_script(state: SandboxState, source: ScriptSource) -> None:
    """Replace the script of turns, starting at its first turn.

    Raises:
        ConfigurationError: the script is invalid; names the line.
    """
    state.reply_script = ScriptRunner(parse_script(source, REPLY_SCRIPT, "script of turns"))


def get_faults(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/faults`: the current script."""
    return json_answer(state.faults.script.model_dump(mode="json", exclude_unset=True))


def set_faults(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `PUT /sandbox/faults`: a script, or `{"case": "U12-date"}` for a case of the plan.

    A case also replaces the script of turns. Cases of the connection are refused: they need
    another address.
    """
    try:
        name = _read_case_name(request.body)
        if name is None:
            load_faults(state, request.body or {})
        else:
            play_case(state, _find_playable_case(name))
    except ConfigurationError as error:
        raise invalid_request(error.message) from error
    return json_answer({"faults": len(state.faults.script.faults)})


def _read_case_name(body: bytes) -> str | None:
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None  # the script parser reports what is wrong, and where
    is_named = isinstance(value, dict) and list(cast(JsonObject, value)) == ["case"]
    return str(cast(JsonObject, value)["case"]) if is_named else None


def _find_playable_case(name: str) -> FaultCase:
    case = find_case(name)
    if case.address != "open":
        raise ConfigurationError(
            f"{name} is a fault of the connection: start the sandbox with `--fault {name}`."
        )
    return case


def get_fault_plan(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/faults/plan`: every case, and how a good client handles it."""
    return json_answer({"cases": [case.as_json() for case in load_plan()]})


def get_faults_schema(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/faults/schema`: the JSON schema of fault scripts."""
    return json_answer(fault_schema.json_schema())


def get_script(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/script`: the current script, and the number of turns left."""
    body = state.reply_script.script.model_dump(mode="json", exclude_unset=True)
    return json_answer({**body, "remaining": state.reply_script.remaining})


def set_script(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `PUT /sandbox/script`: replace the script of turns; the answer counts its turns."""
    try:
        load_script(state, request.body or {})
    except ConfigurationError as error:
        raise invalid_request(error.message) from error
    return json_answer({"turns": state.reply_script.remaining})


def get_clock(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /sandbox/clock`: Unix time, and the seconds by which it was moved forward."""
    return json_answer({"now_s": state.now_s(), "ahead_s": state.clock_offset_s})


def set_clock(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `PUT /sandbox/clock` with `{"advance_s": 300}`: caches expire, limits renew."""
    seconds = BodyReader(parse_body(request.body)).number("advance_s", 0, 10**9)
    state.clock_offset_s += seconds or 0.0
    return get_clock(state, request)
