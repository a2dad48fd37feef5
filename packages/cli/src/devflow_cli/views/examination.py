"""Shows what the examination of a gateway found: a table, one JSON document, or JUnit's XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # writes only; nothing foreign is parsed

from devflow_core.safe_text import replace_control_characters
from devflow_core.usage import format_usd

from devflow_cli.views.tables import print_table

if TYPE_CHECKING:
    from devflow_cli.conformance import Finding
    from devflow_cli.run import Run

MAX_TEXT_WIDTH = 100
"""Explanations are wrapped at this width on wider terminals: longer lines are hard to read."""
_WORDS = {"ok": "ok", "failed": "FAIL", "not_shown": "not shown", "skipped": "skipped"}


def print_findings(run: Run, findings: Sequence[Finding]) -> None:
    """Print a table of all findings, then what failed, and why the rest is unknown."""
    rows = [
        {
            "outcome": _WORDS[one.outcome],
            "clause": one.clause.name,
            "detail": one.detail,
        }
        for one in findings
    ]
    columns = {"outcome": "", "clause": "Clause", "detail": "Seen"}
    print_table(run, columns, rows, text=("detail",))
    width = min(run.console.width, MAX_TEXT_WIDTH)
    for one in findings:
        if one.outcome == "failed":
            run.say(f"FAIL {one.clause.name}")
            run.say(_wrap(f"Promise: {one.clause.sentence}", width))
            run.say(_wrap(f"Seen: {one.detail}", width) + "\n")
    for reason, names in _group_by_reason(findings).items():
        run.say(_wrap(f"{', '.join(names)}: {reason}", width, "") + "\n")
    counts = Counter(one.outcome for one in findings)
    shown = ", ".join(f"{counts[key]} {_WORDS[key]}" for key in _WORDS if counts[key])
    calls = sum(one.calls for one in findings)
    run.say(_wrap(f"{shown}; {calls} calls for {format_usd(total_cost(findings))}.", width, ""))


def total_cost(findings: Sequence[Finding]) -> Decimal:
    """Return what the replies of all findings cost, in USD."""
    return sum((one.cost_usd for one in findings), Decimal(0))


def findings_as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the document of `--json`."""
    return {
        "ok": all(one.outcome != "failed" for one in findings),
        "cost_usd": total_cost(findings),
        "counts": dict(Counter(one.outcome for one in findings)),
        "findings": [one.as_json() for one in findings],
    }


def write_junit(findings: Sequence[Finding], url: str, file: Path) -> None:
    """Write the findings as JUnit's XML: a test suite, with a test case for each clause.

    A clause that was not shown counts as skipped.

    Raises:
        OSError: the file cannot be written.
    """
    failures = sum(one.outcome == "failed" for one in findings)
    skipped = sum(one.outcome in ("not_shown", "skipped") for one in findings)
    totals = {
        "tests": str(len(findings)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{sum(one.seconds for one in findings):.3f}",
    }
    root = ET.Element("testsuites", {"name": "devflow doctor", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": f"devflow doctor {_clean(url)}", **totals})
    for one in findings:
        place = {"classname": f"devflow.doctor.{one.clause.group}", "name": one.clause.name}
        case = ET.SubElement(suite, "testcase", {**place, "time": f"{one.seconds:.3f}"})
        detail = _clean(one.detail)
        if one.outcome == "failed":
            failure = ET.SubElement(case, "failure", {"message": detail, "type": "ClauseBroken"})
            failure.text = f"{one.clause.sentence}\n{detail}"
        elif one.outcome == "ok":
            ET.SubElement(case, "system-out").text = detail
        else:
            ET.SubElement(case, "skipped", {"message": f"{_WORDS[one.outcome]}: {detail}"})
    ET.indent(root)
    file.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _group_by_reason(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Return the clauses with an unknown outcome, by the reason, which says what to do."""
    found: dict[str, list[str]] = {}
    for one in findings:
        if one.outcome in ("not_shown", "skipped"):
            found.setdefault(one.detail, []).append(one.clause.name)
    return found


def _wrap(text: str, width: int, indent: str = "  ") -> str:
    return fill(text, width, initial_indent=indent, subsequent_indent=indent)


def _clean(text: str) -> str:
    """Return the text without characters that XML cannot hold."""
    plain = replace_control_characters(text).encode("utf-8", "replace").decode()
    return plain.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
