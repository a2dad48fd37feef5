"""Tests hold on every machine: none measures how fast it is, and no law is tried less than others.

What a test proves of time it proves on a clock that it moves (`FakeClock`, or the root conftest's
`loop_clock`); what it waits for, it waits for by a condition (`eventually`, `gate`, an event).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house.code_map import Module, read_module

ROOT = Path(__file__).parents[2]
TESTS = sorted({*ROOT.glob("packages/**/tests/**/*.py"), *ROOT.glob("tests/**/*.py")})
LEAST_EXAMPLES = 300
LEAST_PATIENCE_S = 30
STOPWATCHES = re.compile(r"(perf_counter|process_time|thread_time|monotonic)(_ns)?|timeit")
MAY_LOOK_AT_A_CLOCK: dict[str, str] = {}
"""Test modules that read a real clock, and why; nobody has needed to yet."""


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _names(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.name


def _differences_of_loop_time(module: Module) -> list[int]:
    """Lines that subtract from, or from something, what a loop's clock says."""
    return [
        node.lineno
        for node in module.nodes
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
        for side in (node.left, node.right)
        if isinstance(side, ast.Call)
        and isinstance(side.func, ast.Attribute)
        and side.func.attr == "time"
    ]


def _numbers(module: Module, *names: str) -> Iterator[tuple[int, float]]:
    """Where a literal number is given by one of these keywords."""
    for node in module.nodes:
        if isinstance(node, ast.keyword) and node.arg in names:
            yield from _literal(node.value)


def _literal(node: ast.expr) -> Iterator[tuple[int, float]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield node.lineno, node.value


def _deadlines(module: Module) -> Iterator[tuple[int, float]]:
    """The seconds that `asyncio.timeout`, `asyncio.wait_for` and `timeout=` are given."""
    yield from _numbers(module, "timeout")
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "timeout" and node.args:
                yield from _literal(node.args[0])
            elif node.func.attr == "wait_for" and len(node.args) > 1:
                yield from _literal(node.args[1])


@pytest.mark.parametrize("path", TESTS, ids=_ids)
def test_no_test_depends_on_how_fast_the_machine_is(path: Path) -> None:
    if _ids(path) in MAY_LOOK_AT_A_CLOCK:
        return
    module = read_module(path)
    assert [name for name in _names(module) if STOPWATCHES.fullmatch(name)] == []
    assert _differences_of_loop_time(module) == []


@pytest.mark.parametrize("path", TESTS, ids=_ids)
def test_a_deadline_only_ends_a_hang(path: Path) -> None:
    module = read_module(path)
    # 0 is no deadline but a wrong value, which a test of wrong values gives
    short = [found for found in _deadlines(module) if 0 < found[1] < LEAST_PATIENCE_S]
    assert short == []


@pytest.mark.parametrize("path", TESTS, ids=_ids)
def test_every_law_is_tried_often(path: Path) -> None:
    module = read_module(path)
    assert [one for one in _numbers(module, "max_examples") if one[1] < LEAST_EXAMPLES] == []
