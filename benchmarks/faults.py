"""Plays the whole fault plan against the gateway, and compares the outcomes with the plan.

Every case of `devflow sandbox --list-faults`, in every dialect, streamed and whole, through the
running server and through the library; and once more with a second model that stands ready. What
is expected is the plan's; a mismatch is listed and makes the exit status 1.

    uv run python benchmarks/faults.py               # all, some minutes
    uv run python benchmarks/faults.py --quick       # each case once, the ways in turn
    uv run python benchmarks/faults.py --only U12    # some cases, in every way
    uv run python benchmarks/faults.py --page        # and write the section of docs/reliability.md
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import reliability_page
from devflow_core.messages import WireName
from devflow_sandbox import FaultCase, load_plan
from fault_judge import find_mismatches
from fault_plays import OURS, Observation, Play, run_many

COMMAND = "uv run python benchmarks/faults.py --page"
WAYS = tuple(itertools.product(OURS.values(), (True, False), ("server", "library")))
_AT_ONCE = 8
_CHUNK = 48


def list_plays(cases: Sequence[FaultCase], doors: Sequence[str], *, is_quick: bool) -> list[Play]:
    """Return every case in every way; with `is_quick` once each, spread over the ways."""
    plays: list[Play] = []
    for number, case in enumerate(cases):
        dialects = {OURS[name] for name in case.dialects}
        ways = [way for way in WAYS if way[0] in dialects and way[2] in doors]
        chosen = [ways[number % len(ways)]] if is_quick else ways
        plays += [_make_play(case, way) for way in chosen]
    return plays if is_quick else [*plays, *_fallback_plays(cases)]


def _make_play(
    case: FaultCase, way: tuple[WireName, bool, str], *, has_fallback: bool = False
) -> Play:
    dialect, is_stream, door = way
    return Play(
        case=case, dialect=dialect, is_stream=is_stream, door=door, has_fallback=has_fallback
    )


def _fallback_plays(cases: Sequence[FaultCase]) -> Iterator[Play]:
    """Yield the plays with a second model, without wrong addresses, which are so for any model."""
    for number, case in enumerate(cases):
        if case.expect.fallback is not None and case.address == "open" and case.faults:
            way = (OURS[case.dialects[number % len(case.dialects)]], number % 2 == 0, "server")
            yield _make_play(case, way, has_fallback=True)


def play_all(plays: list[Play]) -> list[Observation]:
    """Play in two processes; plays that move much data come last, one at a time in each."""
    light = [play for play in plays if not play.case.is_heavy]
    heavy = [play for play in plays if play.case.is_heavy]
    chunks = [light[start : start + _CHUNK] for start in range(0, len(light), _CHUNK)]
    seen: list[Observation] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in pool.map(_play_chunk, [*chunks, *([play] for play in heavy)]):
            seen += done
            print(f"{len(seen)} of {len(plays)} played", file=sys.stderr, flush=True)
    return seen


def play_again(seen: list[Observation]) -> list[Observation]:
    """Repeat unexpected plays alone: on a busy machine short deadlines expire."""
    doubtful = [one for one in seen if find_mismatches(one)]
    print(f"{len(doubtful)} are played again, alone", file=sys.stderr, flush=True)
    again = asyncio.run(run_many([one.play for one in doubtful], 1))
    replaced = {id(old): new for old, new in zip(doubtful, again, strict=True)}
    return [replaced.get(id(one), one) for one in seen]


def _play_chunk(plays: list[Play]) -> list[Observation]:
    return asyncio.run(run_many(plays, _AT_ONCE))


def as_markdown(seen: Sequence[Observation]) -> str:
    """Return the sums, the mismatches, and a row for each case."""
    plain = [one for one in seen if not one.play.has_fallback]
    by_case: dict[str, list[Observation]] = defaultdict(list)
    for one in plain:
        by_case[one.play.case.id].append(one)
    head = ("case", "what happens", "ends with", "told", "attempts", "booked / confirmed / billed")
    rows = [_row(group) for group in by_case.values()]
    return "\n\n".join((_sums(seen), _mismatches(seen), reliability_page.table(head, rows)))


def _sums(seen: Sequence[Observation]) -> str:
    plain = [one for one in seen if not one.play.has_fallback]
    wrong = sum(1 for one in seen if find_mismatches(one))
    booked, confirmed, billed = (
        sum((getattr(one, name) for one in plain), Decimal(0))
        for name in ("booked_usd", "confirmed_usd", "billed_usd")
    )
    false_ends = sum(1 for one in plain if one.outcome == "success" != one.play.case.expect.outcome)
    return (
        f"{len({one.play.case.id for one in plain})} cases, {len(plain)} plays, and"
        f" {len(seen) - len(plain)} with a second model ready: **{wrong} not as expected**,"
        f" {false_ends} replies that look complete and are not,"
        f" {sum(1 for one in seen if one.broken)} with a broken invariant (a row for each attempt,"
        " the balance is the sum of the entries, nothing is left reserved, the chain holds, the key"
        f" stands nowhere). Booked {booked:.6f} USD when the requests had ended, {confirmed:.6f}"
        f" after the costs were looked up by id, {billed:.6f} on the bill."
    )


def _mismatches(seen: Sequence[Observation]) -> str:
    lines = list(list_mismatches(seen))
    return "\n".join(("Not as expected:", "", *(f"* {line}" for line in lines))) if lines else ""


def list_mismatches(seen: Sequence[Observation]) -> Iterator[str]:
    """Yield one line for each mismatch."""
    for one in seen:
        for what in find_mismatches(one):
            ready = ", a second model ready" if one.play.has_fallback else ""
            yield f"{one.play.name}{ready}: {' '.join(what.split())[:300]}"


def _row(group: Sequence[Observation]) -> tuple[str, ...]:
    """Return a case's row: the value on which all its plays agree, or all values."""
    case = group[0].play.case
    money = (f"{_usd(group, 'booked_usd')} / {_usd(group, 'confirmed_usd')}"
             f" / {_usd(group, 'billed_usd')}")  # fmt: skip
    statuses = [one.status for one in group if one.outcome not in ("success", "left")]
    told = _values(["in the stream" if one is None else one for one in statuses])
    return (
        case.id,
        case.description,
        _outcomes(group),
        told,
        _values([one.attempts for one in group]),
        money,
    )


def _outcomes(group: Sequence[Observation]) -> str:
    streamed = {one.outcome for one in group if one.play.is_stream}
    whole = {one.outcome for one in group if not one.play.is_stream}
    if streamed == whole or not streamed or not whole:
        return ", ".join(sorted(streamed | whole))
    return f"{', '.join(sorted(streamed))}; whole: {', '.join(sorted(whole))}"


def _values(values: Sequence[object]) -> str:
    return ", ".join(sorted({str(one) for one in values}))


def _usd(group: Sequence[Observation], name: str) -> str:
    """Return the mean over a case's plays, in millionths of a dollar."""
    mean = sum((getattr(one, name) for one in group), Decimal(0)) / len(group) * 1_000_000
    return f"{mean:.0f}"


def as_document(seen: Sequence[Observation]) -> list[dict[str, object]]:
    """Return every play as JSON."""
    return [
        {
            "case": one.play.case.id,
            "dialect": one.play.dialect,
            "is_stream": one.play.is_stream,
            "door": one.play.door,
            "has_fallback": one.play.has_fallback,
            "outcome": one.outcome,
            "status": one.status,
            "code": one.code,
            "attempts": one.attempts,
            "cost_statuses": one.cost_statuses,
            "booked_usd": str(one.booked_usd),
            "confirmed_usd": str(one.confirmed_usd),
            "billed_usd": str(one.billed_usd),
            "broken": one.broken,
            "mismatches": find_mismatches(one),
            "wall_s": round(one.wall_s, 3),
        }
        for one in seen
    ]


def main() -> int:
    """Run the plays; return 1 if any differs from the plan."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="each case once")
    parser.add_argument("--only", default="U", metavar="PREFIX", help="cases whose id begins so")
    parser.add_argument("--door", choices=("server", "library"), help="only this one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every play there")
    parser.add_argument("--page", action="store_true", help="write the section of the page")
    options = parser.parse_args()
    section = reliability_page.Section(name="faults", command=COMMAND)
    cases = [case for case in load_plan() if case.id.startswith(options.only)]
    doors = ("server", "library") if options.door is None else (options.door,)
    seen = play_again(play_all(list_plays(cases, doors, is_quick=options.quick)))
    if options.json is not None:
        options.json.write_text(json.dumps(as_document(seen), indent=1) + "\n")
    if options.page:
        section.write(as_markdown(seen))
    mismatches = list(list_mismatches(seen))
    print("\n".join((*mismatches, "", _sums(seen).replace("**", ""))))
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
