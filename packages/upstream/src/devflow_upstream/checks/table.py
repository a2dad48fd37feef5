"""Makes the checks of a request."""

from __future__ import annotations

from devflow_core.ports import Check
from devflow_core.verification import Verification

from devflow_upstream.checks.agreement import AgreementCheck
from devflow_upstream.checks.code import CodeCheck
from devflow_upstream.checks.command import CommandCheck
from devflow_upstream.checks.forms import FormatCheck, ToolCallCheck
from devflow_upstream.checks.hook import HookCheck
from devflow_upstream.checks.judge import JudgeCheck


def build_checks(wanted: Verification) -> tuple[Check, ...]:
    """Return the checks, the cheapest first.

    Raises:
        ConfigurationError: there is no such program as the command.
    """
    checks: list[Check] = []
    if wanted.schema:
        checks.append(FormatCheck())
    if wanted.tools:
        checks.append(ToolCallCheck())
    if wanted.code:
        checks.append(CodeCheck())
    if wanted.command:
        checks.append(CommandCheck(wanted.command, wanted.timeout_s))
    if wanted.hook is not None:
        checks.append(HookCheck(wanted.hook, wanted.timeout_s))
    if wanted.judge is not None:
        checks.append(JudgeCheck(wanted.judge, wanted.judge_max_usd))
    return tuple(checks)


def build_last_resort(wanted: Verification) -> Check | None:
    """Return the check that is made where no other one applies; None if none is wanted."""
    return AgreementCheck() if wanted.agreement else None
