"""Every Python block of the documentation and every example program runs, against the stand-in."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from devflow_sandbox import Sandbox

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("packages/**/README.md"),
    )
    if "```python" in page.read_text(encoding="utf-8") and "node_modules" not in page.parts
)
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
SESSION = next((ROOT / "examples" / "sessions").glob("b0b4*.jsonl"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path, openrouter_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one Claude Code session in ~/src/shop, and the stand-in as OpenRouter."""
    shop = tmp_path / "src" / "shop"
    shop.mkdir(parents=True)
    folder = tmp_path / ".claude" / "projects" / re.sub(r"[^A-Za-z0-9]", "-", str(shop))
    folder.mkdir(parents=True)
    (folder / SESSION.name).write_bytes(SESSION.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_sandbox.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_sandbox.base_url)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _blocks(page: Path) -> list[types.CodeType]:
    return [
        compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for source in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page: Path, home: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for code in _blocks(page):
        result = types.FunctionType(code, names)()
        if inspect.iscoroutine(result):
            asyncio.run(result)


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.name)
def test_an_example_program_runs(program: Path, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(program)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_page_of_adapters_shows_the_programs_that_the_tests_of_clients_run() -> None:
    page = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    programs = ROOT.glob("examples/interop/*.py")
    assert shown == {program.read_text(encoding="utf-8") for program in programs}
