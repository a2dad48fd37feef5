"""A package outside `packages/` imports the gateway and is run as its users run it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from devflow_sandbox.threaded import ThreadedSandbox

COMMAND = Path(sys.executable).with_name("release-notes")
SUBJECTS = "Add sign-in by passkey\nFix the total of an empty cart\n"
PATIENCE_S = 120


def release_notes(
    environment: Mapping[str, str], subjects: str = SUBJECTS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND],
        input=subjects,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def environment(tmp_path: Path, openrouter_sandbox: ThreadedSandbox) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "OPENROUTER_BASE_URL": openrouter_sandbox.base_url,
        "OPENROUTER_API_KEY": openrouter_sandbox.api_key,
    }


def test_it_writes_notes_and_books_them_where_devflow_does(environment: dict[str, str]) -> None:
    done = release_notes(environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "USD" in done.stderr
    report = subprocess.run(
        [Path(sys.executable).with_name("devflow"), "report", "--by", "project"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert "release-notes" in report.stdout


def test_it_says_what_is_missing_in_one_line(environment: dict[str, str]) -> None:
    del environment["OPENROUTER_API_KEY"]
    done = release_notes(environment)
    assert done.returncode == 1
    assert "OPENROUTER_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert release_notes(environment, "").returncode == 1
