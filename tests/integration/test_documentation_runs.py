"""Every Python block of the documentation and every example program runs, against the stand-in."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from devflow_sandbox import Sandbox
from integration.page_blocks import ROOT, put_session, run_python_blocks

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


@pytest.fixture
def home(tmp_path: Path, openrouter_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one Claude Code session in ~/src/shop, and the stand-in as OpenRouter."""
    put_session(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_sandbox.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_sandbox.base_url)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page: Path, home: Path) -> None:
    run_python_blocks(page)


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
