"""The tests that docs/python.md shows run in a user's own project, with our fixtures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_tests_of_the_page_pass_in_an_empty_project(tmp_path: Path) -> None:
    shown = BLOCK.findall(PAGE.read_text(encoding="utf-8"))[-1]
    assert "def test_" in shown
    (tmp_path / "test_mine.py").write_text(shown, encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OPENROUTER_API_KEY": "sk-or-v1-of-the-user",
        "DEVFLOW_COST_BUDGET_USD": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / ".local").exists()
